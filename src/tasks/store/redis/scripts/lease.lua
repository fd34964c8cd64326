-- ARGV: worker, lease in ms, bytes of payloads in all, then five for each class: its name, how many, its concurrency,
-- its weight, its time limit in ms. A list for each lease: id, class, token, attempt, max, priority, workflow, waited
-- in ms, payload.
--
-- Fair between classes is start-time fair queueing: each class has a virtual time, which a lease moves on by a share
-- that is smaller the more the class weighs; the class that is least far on is next. `now` among them is where the
-- one served last began, and nobody begins earlier: a class that had nothing to do, no room or no worker has not
-- saved up anything.

whatever_memory_there_is()
local worker, lease, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local STRIDE = 1000000
local times = {}
local pairs_of_times = call('HGETALL', P .. 'vt')
for i = 1, #pairs_of_times, 2 do times[pairs_of_times[i]] = tonumber(pairs_of_times[i + 1]) end
local virtual_now = times.now or 0

local classes = {}
for i = 4, #ARGV, 5 do
  local class = { name = ARGV[i], room = tonumber(ARGV[i + 1]), stride = math.floor(STRIDE / ARGV[i + 3]),
    limit = tonumber(ARGV[i + 4]), begins = times[ARGV[i]] or 0, found = {}, looked_at = 0 }
  local concurrency = tonumber(ARGV[i + 2])
  if concurrency > 0 then
    class.room = math.min(class.room, concurrency - call('ZCARD', P .. 'l:' .. class.name))
  end
  classes[#classes + 1] = class
end

-- The first one of those that wait; all before it have been taken out.
local function first(class)
  if class.looked_at == #class.found then
    class.found = call('ZRANGE', P .. 'w:' .. class.name, 0, class.room - 1)
    class.looked_at = 0
  end
  class.looked_at = class.looked_at + 1
  return class.found[class.looked_at]
end

local leases = {}
while bytes > 0 do
  local next
  for _, class in ipairs(classes) do
    class.begins = math.max(class.begins, virtual_now)
    if class.room > 0 and (not next or class.begins < next.begins) then next = class end
  end
  if not next then break end
  local m = first(next)
  if not m then
    next.room = 0
  else
    local id = id_of(m)
    local key = P .. 't:' .. id
    local f = call('HMGET', key, 'att', 'max', 'prio', 'flow', 'queued', 'due', 'class', 'state', 'seq')
    if not f[1] then
      -- Its submission was cut off, or somebody removed keys by hand.
      call('DEL', key, P .. 'p:' .. id, P .. 'o:' .. id, P .. 'v:' .. id)
    elseif tonumber(f[6] or 0) <= now
      and belongs({ class = f[7], state = f[8], member = member(f[9], id) }, 'w:' .. next.name, m) then
      local payload = call('GET', P .. 'p:' .. id)
      if not payload then
        -- The end that it came to was cut off after its last write; what was done next did not know of it.
        local result = call('EXISTS', P .. 'o:' .. id) == 1
        local state = result and 'completed' or 'cancelled'
        call('ZADD', P .. (result and 'c:' or 'x:') .. next.name, now, m)
        call('HSET', key, 'state', state, 'out', state, 'end', now)
        tell('task_' .. state, id, next.name, f[1], {})
      else
        local attempt = f[1] + 1
        local token = string.format('%x-%x', clock[1] * 1000000 + clock[2], number())
        call('ZADD', P .. 'l:' .. next.name, now + math.min(lease, next.limit), m)
        call('HSET', key, 'state', 'running', 'att', attempt, 'token', token, 'out', '', 'start', now, 'worker',
          keep(id, 'worker', worker))
        leases[#leases + 1] = { id, next.name, token, attempt, tonumber(f[2]), tonumber(f[3]), kept(id, 'flow', f[4]),
          now - f[5], payload }
        tell('task_started', id, next.name, attempt, { 'worker', worker, 'token', token })
        bytes = bytes - #payload
        virtual_now = next.begins
        next.begins = next.begins + next.stride
        next.room = next.room - 1
        next.served = true
      end
    end
    call('ZREM', P .. 'w:' .. next.name, m)
  end
end

if #leases > 0 then
  for _, class in ipairs(classes) do
    if class.served then call('HSET', P .. 'vt', class.name, class.begins) end
  end
  call('HSET', P .. 'vt', 'now', virtual_now)
end
return leases
