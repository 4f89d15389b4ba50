-- Takes, renews or gives up the right to record the log, and notes how far it is recorded.
-- KEYS: 1 recorder, 2 log, 3 meta
-- ARGV: 1 who claims it, 2 how long it lasts in ms, 3 the last seq that the database has ("-": the right is given up), 4 the
--       base of its epoch
-- Returns {1 if the claimant has the right now, log_id, recorded, the base of its epoch}. log_id is empty if no epoch has
-- opened yet, and a base is 0 if the epoch is older than the markers.

local recorder, log, meta = KEYS[1], KEYS[2], KEYS[3]
local me, lease, claimed, claimed_base = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local state = state(log, meta)
local holder = redis.call('GET', recorder)
local mine, recorded = 0, state.recorded

local function epoch_of(seq)
  local epoch = 0
  for base in string.gmatch(state.markers, '%d+:(%d+):%d+') do
    if tonumber(base) <= seq then epoch = tonumber(base) end
  end
  return epoch
end

if not claimed then
  -- no DEL: the documented Redis user may not call that
  if holder == me then redis.call('SET', recorder, me, 'PX', 1) end
elseif not holder or holder == me then
  mine = 1
  redis.call('SET', recorder, me, 'PX', lease)
  -- what comes above the end of the log, or has come there in another epoch since the claimant has read it, would be trimmed
  -- before it is recorded
  if claimed > recorded and claimed <= state.seq and epoch_of(claimed) == claimed_base then
    -- the bytes go with the number of the entries, as if all had the same size
    local before, after = waiting(state, recorded), waiting(state, claimed)
    local bytes = before > 0 and math.floor(state.waiting_bytes * after / before) or 0
    recorded = claimed
    redis.call('HSET', meta, 'recorded', text(recorded), 'waiting_bytes', text(bytes))
  end
end
return { mine, state.log_id or '', text(recorded), text(epoch_of(recorded)) }
