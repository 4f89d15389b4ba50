-- Gives a batch its places in the log and publishes what was new, in one PUBLISH.
-- KEYS: 1 log, 2 meta, then one dedupe key a message
-- ARGV: 1 channel, 2 retention in messages, 3 dedupe window in ms, 4 the epoch the caller expects, 5 a place that it knows,
--       then for each message its former place (or 0) and its record
-- Returns the places as text, "-<seq>" for a message that was there already; an empty list if another epoch is open or
-- none (only sync.lua opens one), or if the log ends before what the caller knows: then nothing was written.

local log, meta = KEYS[1], KEYS[2]
local channel, retention, window, epoch, last = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local state = state(log, meta)
if not state.open or text(state.base) ~= epoch or last > state.seq then return {} end

-- Where this key's message stands. A key may outlive its entry, or come back without it: a place in a lost range is none.
local function known(key)
  local seq = tonumber(redis.call('GET', key) or '0')
  if seq == 0 then return 0 end
  for cut, base in string.gmatch(state.markers, '(%d+):(%d+):%d+') do
    if seq > tonumber(cut) and seq < tonumber(base) then return 0 end
  end
  return seq
end

local places, lines, seq = {}, {}, state.seq
for i = 3, #KEYS do
  local was, record = ARGV[2 * i], ARGV[2 * i + 1]
  local first = known(KEYS[i])
  if first > 0 then
    places[#places + 1] = '-' .. text(first)
  else
    seq = seq + 1
    if was == '0' then
      redis.call('XADD', log, 'MAXLEN', '~', retention, text(seq) .. '-0', 'm', record)
    else
      redis.call('XADD', log, 'MAXLEN', '~', retention, text(seq) .. '-0', 'm', record, 'w', was)
    end
    -- last: a failure above must not leave a message that is marked as done and is not there
    redis.call('SET', KEYS[i], text(seq), 'PX', window)
    places[#places + 1] = text(seq)
    lines[#lines + 1] = was .. ' ' .. record .. '\n'
  end
end
if #lines > 0 then
  redis.call('HSET', meta, 'seq', text(seq))
  local header = '1 messages ' .. epoch .. ' ' .. text(state.seq + 1) .. ' ' .. #lines .. '\n'
  redis.call('PUBLISH', channel, header .. table.concat(lines))
end
return places
