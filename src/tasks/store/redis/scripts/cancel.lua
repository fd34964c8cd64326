-- ARGV: id, reason. The state it was in, or an empty word.

whatever_memory_there_is()
local t = task(ARGV[1])
if not t then return '' end
if t.state ~= 'running' and t.state ~= 'pending' then return t.state end
local key = P .. 't:' .. t.id
local token = t.state == 'running' and t.token or ''
call('ZADD', P .. 'x:' .. t.class, now, t.member)
call('HSET', key, 'state', 'cancelled', 'out', t.state == 'running' and 'cancelled' or t.out, 'end', now,
  'err', keep(t.id, 'err', ARGV[2]))
call('HDEL', key, 'due')
for _, set in ipairs({ 'l:', 'w:', 'z:' }) do call('ZREM', P .. set .. t.class, t.member) end
call('DEL', P .. 'p:' .. t.id)
tell('task_cancelled', t.id, t.class, t.att, { 'worker', token ~= '' and t.worker or '', 'token', token, 'error', ARGV[2] })
return t.state
