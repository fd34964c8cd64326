-- ARGV: id, token. A word: ok, stale. To its place: the member is the same.

whatever_memory_there_is()
local t = task(ARGV[1])
if not t or t.token ~= ARGV[2] then return 'stale' end
if t.state ~= 'running' then return t.out == 'released' and 'ok' or 'stale' end
call('ZADD', P .. 'w:' .. t.class, -t.prio, t.member)
call('HSET', P .. 't:' .. t.id, 'state', 'pending', 'out', 'released', 'att', t.att - 1)
call('ZREM', P .. 'l:' .. t.class, t.member)
tell('task_released', t.id, t.class, t.att, { 'worker', t.worker, 'token', t.token })
return 'ok'
