-- ARGV: id. The state it was in, or an empty word. At the end of its priority, with all its attempts.

whatever_memory_there_is()
local t = task(ARGV[1])
if not t then return '' end
if t.state ~= 'failed' then return t.state end
local seq = number()
call('ZADD', P .. 'w:' .. t.class, -t.prio, member(seq, t.id))
call('HSET', P .. 't:' .. t.id, 'state', 'pending', 'att', 0, 'seq', seq, 'queued', now)
call('HDEL', P .. 't:' .. t.id, 'end', 'due')
call('ZREM', P .. 'd:' .. t.class, t.member)
tell('task_requeued', t.id, t.class, 0, {})
return t.state
