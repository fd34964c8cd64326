-- ARGV: id, token, result. A word: ok, stale.

whatever_memory_there_is()
local t = task(ARGV[1])
if not t or t.token ~= ARGV[2] then return 'stale' end
if t.state ~= 'running' then return t.out == 'completed' and 'ok' or 'stale' end
call('SET', P .. 'o:' .. t.id, ARGV[3])
call('ZADD', P .. 'c:' .. t.class, now, t.member)
call('HSET', P .. 't:' .. t.id, 'state', 'completed', 'out', 'completed', 'end', now)
call('ZREM', P .. 'l:' .. t.class, t.member)
call('DEL', P .. 'p:' .. t.id)
tell('task_completed', t.id, t.class, t.att, { 'worker', t.worker, 'token', t.token })
return 'ok'
