-- One atomic picture of the log behind a reader, and the only place where an epoch opens.
-- KEYS: 1 log, 2 meta
-- ARGV: 1 channel, 2 the reader's last place (0: none), 3 the lowest cursor that what it holds can complete ("-": it holds
--       nothing), 4 how many entries it takes
-- Returns {base, last place, cut of the open epoch, entries, server process}, numbers as text.

local log, meta = KEYS[1], KEYS[2]
local channel, last, low, count = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local state = state(log, meta)

-- a reader that has seen more than this server has: data was lost, or the clock that opened an epoch went back
if not state.open or last > state.seq then
  local time = redis.call('TIME')
  local now, known = time[1] * 1000000 + time[2], math.max(state.seq, last)
  -- a clock ahead of everything known is taken as it is; one that is behind needs 2^20 of margin, since others may have
  -- seen more of the lost tail than this reader has
  local base = now > known and now or known + 1048576
  if base > 9007194959773696 then return redis.error_reply('ERR the clock or the position is absurd') end
  if low == '-' then low = text(base) end
  state.base, state.cut, state.seq = base, state.last, base
  redis.call('XADD', log, text(base) .. '-0', 'cut', text(state.cut), 'low', low)
  local lost = state.lost .. text(state.cut) .. ':' .. text(base) .. ' '
  while #lost > 1088 do lost = string.match(lost, '^%S+ (.*)$') end -- about 32 ranges
  redis.call('HSET', meta, 'base', text(base), 'seq', text(base), 'cut', text(state.cut), 'run', state.run, 'lost', lost)
  redis.call('PUBLISH', channel, '1 epoch ' .. text(base) .. '\n')
end

local entries = {}
if last < state.seq then
  entries = redis.call('XRANGE', log, text(last + 1) .. '-0', '+', 'COUNT', count)
end
return { text(state.base), text(state.seq), text(state.cut), entries, state.run }
