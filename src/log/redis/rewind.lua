-- Sets how far the log is recorded, also to less than before. What the log does not have cannot be recorded: the most is its
-- last seq.
-- KEYS: 1 log, 2 meta
-- ARGV: 1 the last seq that the database has

local log, meta = KEYS[1], KEYS[2]
local state = state(log, meta)
local recorded = math.min(tonumber(ARGV[1]), state.seq)

-- the size of what waits now is estimated from its first entries
local bytes, sample = 0, redis.call('XRANGE', log, text(recorded + 1) .. '-0', '+', 'COUNT', 1000)
for _, entry in ipairs(sample) do
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'm' or entry[2][i] == 'e' then bytes = bytes + #entry[2][i + 1] end
  end
end
if #sample > 0 then bytes = math.floor(bytes * waiting(state, recorded) / #sample) end
redis.call('HSET', meta, 'recorded', text(recorded), 'waiting_bytes', text(bytes))
return 'OK'
