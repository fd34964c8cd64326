-- ARGV: lease in ms, the time limit of each class in ms in the order of CLASSES, then two for each lease: id, token.
-- A word for each: ok, lost, cancelled.

whatever_memory_there_is()
local lease = tonumber(ARGV[1])
local limits = {}
for i, class in ipairs(CLASSES) do limits[class] = tonumber(ARGV[1 + i]) end

local came = {}
for i = 6, #ARGV, 2 do
  local t = task(ARGV[i])
  local word = 'lost'
  if t and t.token == ARGV[i + 1] then
    if t.state == 'running' then
      local last = t.start + limits[t.class]
      if now < last then
        call('ZADD', P .. 'l:' .. t.class, 'XX', math.min(now + lease, last), t.member)
        word = 'ok'
      end
    elseif t.out == 'cancelled' then
      word = 'cancelled'
    end
  end
  came[#came + 1] = word
end
return came
