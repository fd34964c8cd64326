-- ARGV: how many at most, result_ttl in ms, max_dead, the pauses after each attempt, the time limit of each class in
-- ms in the order of CLASSES. Four numbers: due, lapsed, of those dead, forgotten.

whatever_memory_there_is()
local left, ttl, max_dead, pause_after = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), pauses(ARGV[4])
local due, lapsed, died, forgotten = 0, 0, 0, 0

local function first(key, until_ms)
  if left <= 0 then return {} end
  local found = call('ZRANGEBYSCORE', P .. key, '-inf', until_ms, 'LIMIT', 0, left)
  left = left - #found
  return found
end

local function forget(key, m)
  local t = task(id_of(m))
  if not t or belongs(t, key, m) then
    local id = id_of(m)
    call('DEL', P .. 't:' .. id, P .. 'p:' .. id, P .. 'o:' .. id, P .. 'v:' .. id)
  end
  call('ZREM', P .. key, m)
  forgotten = forgotten + 1
end

for i, class in ipairs(CLASSES) do
  local limit = tonumber(ARGV[4 + i])
  for _, m in ipairs(first('l:' .. class, now)) do
    local t = task(id_of(m))
    if not t or not belongs(t, 'l:' .. class, m) then
      call('ZREM', P .. 'l:' .. class, m)
    else
      local error = 'its worker ' .. t.worker .. ' was not heard of any more'
      if now >= t.start + limit then
        error = 'longer than the ' .. limit / 1000 .. ' s that a task of ' .. class .. ' may take'
      end
      lapsed = lapsed + 1
      if attempt_failed(t, 'lapsed', error, pause_after(t.att)) then died = died + 1 end
    end
  end
  for _, m in ipairs(first('z:' .. class, now)) do
    local t = task(id_of(m))
    if t and belongs(t, 'z:' .. class, m) then
      call('ZADD', P .. 'w:' .. class, -t.prio, m)
      call('HDEL', P .. 't:' .. t.id, 'due')
      due = due + 1
    end
    call('ZREM', P .. 'z:' .. class, m)
  end
  for _, key in ipairs({ 'c:' .. class, 'x:' .. class }) do
    for _, m in ipairs(first(key, now - ttl)) do forget(key, m) end
  end
end

-- Of the dead the oldest go first, whatever class they are of.
local dead = 0
for _, class in ipairs(CLASSES) do dead = dead + call('ZCARD', P .. 'd:' .. class) end
while dead > max_dead and left > 0 do
  local key, m, at
  for _, class in ipairs(CLASSES) do
    local oldest = call('ZRANGE', P .. 'd:' .. class, 0, 0, 'WITHSCORES')
    if oldest[1] and (not at or tonumber(oldest[2]) < at) then
      key, m, at = 'd:' .. class, oldest[1], tonumber(oldest[2])
    end
  end
  forget(key, m)
  dead = dead - 1
  left = left - 1
end
return { due, lapsed, died, forgotten }
