-- Records the connections of one instance, sweeps instances whose lease has ended, and publishes the count if it changed.
-- KEYS: 1 instances (hash: id -> "number connections deadline"),
--       2 census (hash: version, announced, settling_since, last_report, run)
-- ARGV: 1 channel, 2 instance, 3 number of the report, 4 connections ("-": it leaves), 5 lease in ms
-- Returns {version, connections, instances, settling}.
--
-- Reports are absolute and numbered, so a repeated one changes nothing. The sum is taken over the hash each time, so it can
-- neither drift nor fall below zero.

local channel, me, number, connections, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local function text(n) return string.format('%.0f', n) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local run = process()
local known = redis.call('HMGET', KEYS[2], 'version', 'announced', 'settling_since', 'last_report', 'run')
local version, announced = tonumber(known[1] or '0'), known[2]
local settling_since, last_report = tonumber(known[3] or '0'), tonumber(known[4] or '0')

-- Another server process, no report for half a lease (the server itself was away), or a clock that went back: the
-- instances had no chance to renew their leases, so none is swept for the length of a lease.
if known[5] ~= run or now - last_report > lease / 2 or now < last_report then settling_since = now end
local settling = now < settling_since + lease

local own = redis.call('HGET', KEYS[1], me)
if number > tonumber(own and string.match(own, '^%d+') or '0') then
  if connections == '-' then
    redis.call('HDEL', KEYS[1], me)
  else
    redis.call('HSET', KEYS[1], me, text(number) .. ' ' .. connections .. ' ' .. text(now + lease))
  end
end

local sum, instances = 0, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local n, deadline = string.match(all[i + 1], '^%d+ (%d+) (%d+)$')
  if not settling and tonumber(deadline) < now then
    redis.call('HDEL', KEYS[1], all[i])
  else
    sum, instances = sum + tonumber(n), instances + 1
  end
end

local flag = settling and '1' or '0'
local count = text(sum) .. ' ' .. text(instances) .. ' ' .. flag
if count ~= announced then
  version = math.max(version + 1, now) -- not below the clock, so that it grows even if the server has lost the last one
  redis.call('PUBLISH', channel, '1 count ' .. text(version) .. ' ' .. count .. '\n')
end
redis.call('HSET', KEYS[2], 'version', text(version), 'announced', count, 'settling_since', text(settling_since),
  'last_report', text(now), 'run', run)
return { version, sum, instances, tonumber(flag) }
