-- ARGV: id, token, error, `never`, `backoff` or a pause in ms, the pauses after each attempt. -2: stale; -1: dead;
-- else the pause before the next attempt, in ms.

whatever_memory_there_is()
local t = task(ARGV[1])
if not t or t.token ~= ARGV[2] then return -2 end
if t.state ~= 'running' then
  if t.out == 'failed' then return tonumber(call('HGET', P .. 't:' .. t.id, 'pause')) end
  return -2
end
local pause
if ARGV[4] == 'backoff' then
  pause = pauses(ARGV[5])(t.att)
elseif ARGV[4] ~= 'never' then
  pause = tonumber(ARGV[4])
end
if attempt_failed(t, 'failed', ARGV[3], pause) then return -1 end
return pause
