-- Four numbers for each class in the order of CLASSES: waiting, delayed, running, ms that the oldest waits; then how
-- many are dead, and how many have ended otherwise.

local came = {}
local dead, done = 0, 0
for _, class in ipairs(CLASSES) do
  local waiting = P .. 'w:' .. class
  -- The oldest is the first of one of the priorities. Who has more than 32 of them gets the oldest of those.
  local oldest = now
  local from = '-inf'
  for _ = 1, 32 do
    local first = call('ZRANGEBYSCORE', waiting, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if not first[1] then break end
    oldest = math.min(oldest, tonumber(call('HGET', P .. 't:' .. id_of(first[1]), 'queued') or now))
    from = '(' .. first[2]
  end
  came[#came + 1] = call('ZCARD', waiting)
  came[#came + 1] = call('ZCARD', P .. 'z:' .. class)
  came[#came + 1] = call('ZCARD', P .. 'l:' .. class)
  came[#came + 1] = now - oldest
  dead = dead + call('ZCARD', P .. 'd:' .. class)
  done = done + call('ZCARD', P .. 'c:' .. class) + call('ZCARD', P .. 'x:' .. class)
end
came[#came + 1] = dead
came[#came + 1] = done
return came
