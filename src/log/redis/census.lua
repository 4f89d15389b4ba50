-- Reports one instance's connections, sweeps those that stopped reporting, and announces what changed.
-- KEYS: 1 instances (hash: id -> "number connections deadline"), 2 meta (hash: version, told, born, beat, run)
-- ARGV: 1 channel, 2 instance, 3 number of the report, 4 connections ("-": it leaves), 5 lease in ms
-- Returns {version, connections, instances, settling}.
--
-- Counts are absolute and numbered, so a repeated report changes nothing; what is added up is what stands in the hash,
-- so the sum can neither drift nor fall below zero.

local channel, me, number, connections, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local function text(n) return string.format('%.0f', n) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local run = process()
local m = redis.call('HMGET', KEYS[2], 'version', 'told', 'born', 'beat', 'run')
local version, told, born, beat = tonumber(m[1] or '0'), m[2], tonumber(m[3] or '0'), tonumber(m[4] or '0')

-- another server process, nobody has reported for half a lease (the server itself was away), or its clock went back:
-- silence says nothing about the instances yet
if m[5] ~= run or now - beat > lease / 2 or now < beat then born = now end
local settling = now < born + lease

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
local news = text(sum) .. ' ' .. text(instances) .. ' ' .. flag
if news ~= told then
  version = math.max(version + 1, now) -- begins at the clock: it grows even when the server forgot it
  redis.call('PUBLISH', channel, '1 count ' .. text(version) .. ' ' .. news .. '\n')
end
redis.call('HSET', KEYS[2], 'version', text(version), 'told', news, 'born', text(born), 'beat', text(now), 'run', run)
return { version, sum, instances, tonumber(flag) }
