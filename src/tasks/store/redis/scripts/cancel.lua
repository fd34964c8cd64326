-- ARGV: id, reason. The state it was in, or an empty word.

whatever_memory_there_is()
local t = task(ARGV[1])
if not t then return '' end
local key = P .. 't:' .. t.id
local token = ''
if t.state == 'running' then
  call('ZREM', P .. 'l:' .. t.class, t.member)
  token = t.token
elseif t.state == 'pending' then
  call('ZREM', P .. 'w:' .. t.class, t.member)
  call('ZREM', P .. 'z:' .. t.class, t.member)
else
  return t.state
end
call('DEL', P .. 'p:' .. t.id)
call('HSET', key, 'state', 'cancelled', 'end', now)
if t.state == 'running' then call('HSET', key, 'out', 'cancelled') end
call('HDEL', key, 'due')
keep(t.id, 'err', ARGV[2])
call('ZADD', P .. 'x:' .. t.class, now, t.member)
tell('task_cancelled', t.id, t.class, t.att, { 'worker', token ~= '' and t.worker or '', 'token', token, 'error', ARGV[2] })
return t.state
