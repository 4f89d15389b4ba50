-- What append.lua and sync.lua both need to know. Prepended to each.
--
-- {prefix}:log   stream. Message: id <seq>-0, fields m (the record as JSON) and w (its former place, if it had one).
--                Marker: id <base>-0, fields cut and low.
-- {prefix}:meta  hash. base: the open epoch; seq: the last place given out; run: the server process that the epoch belongs to;
--                markers: the latest ones, ascending, "cut:base:low cut:base:low ..", which the stream may have lost or trimmed.
--
-- An epoch belongs to one server process. Another one (restart, failover) may have lost the tail of the log even when
-- data came back.
--
-- A place has 16 digits, and Lua's own conversion to text keeps 14: every number that becomes text goes through text().

local function text(number) return string.format('%.0f', number) end

-- The highest id the stream has ever had; nil if there is no stream. Not what meta says: a script that was aborted
-- half-way has appended without noting it there.
local function top(log)
  local info = redis.pcall('XINFO', 'STREAM', log)
  if info.err then return nil end
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return tonumber(string.match(info[i + 1], '^%d+')) end
  end
end

local function state(log, meta)
  local run = process()
  local known = redis.call('HMGET', meta, 'base', 'seq', 'run', 'markers')
  local last = top(log)
  return {
    open = last and known[1] and known[3] == run and known[4],
    base = tonumber(known[1] or '0'),
    seq = math.max(tonumber(known[2] or '0'), last or 0),
    run = run,
    markers = known[4] or '',
    last = last or 0,
  }
end
