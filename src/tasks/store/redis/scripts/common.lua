-- Before every script. KEYS[1] is the prefix of all keys, `{em:STACK}:`; the table of keys is in ../../redis.rs.
-- Time is Redis's own, in milliseconds.
--
-- The order of writes matters, although a script is atomic: one that a kill cut off within Redis's write to its file
-- is undone at the next start, but its head stays in the file (an open MULTI), and the start after that carries it
-- out, together with whatever was written next. So
-- * whatever is written says what to write, and does not depend on what is there (no ZPOPMIN);
-- * a task is put where it goes, then its record is changed, and only then it is taken from where it was;
-- * so it may stand where it does not belong, and whoever finds it there goes by its record: state and number.
-- tests/torn.rs cuts each script at each of its writes.

local P = KEYS[1]
local call = redis.call
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local CLASSES = { 'cpu_short', 'cpu_long', 'gpu_short', 'gpu_long' }
-- A hash stays small in memory as long as none of its values is longer.
local SHORT = 64

-- First in what must go through even where memory is short, since it ends work that is under way: a write that is
-- never refused, after which Redis refuses no other one of the same script. It does nothing.
local function whatever_memory_there_is()
  call('DEL', P .. '-')
end

-- What a record says of a text that may be long: then it is in `v:`, and its place says `>`.
local function keep(id, field, text)
  if #text <= SHORT and text ~= '>' then return text end
  call('HSET', P .. 'v:' .. id, field, text)
  return '>'
end

local function kept(id, field, text)
  if text == '>' then return call('HGET', P .. 'v:' .. id, field) or '' end
  return text or ''
end

-- In every sorted set a task is `number:id`. The number is of its submission, or of its requeue.
local function member(seq, id)
  return string.format('%016d:%s', seq, id)
end

local function id_of(m)
  return string.sub(m, 18)
end

local function number()
  return call('INCR', P .. 'n')
end

-- What the record of a task says that is in a set, by the set's first letter.
local STATES = { w = 'pending', z = 'pending', l = 'running', c = 'completed', x = 'cancelled', d = 'failed' }

-- Whether a member of a set is there by its record, too: of `t` are looked at its state, class and member.
local function belongs(t, set, m)
  return t.state == STATES[string.sub(set, 1, 1)] and t.class == string.sub(set, 3) and t.member == m
end

-- One event. `more` has pairs of a name and a text; empty ones are left out.
local function tell(what, id, class, attempt, more)
  local event = { 'what', what, 'id', id, 'class', class, 'attempt', attempt }
  for i = 1, #more, 2 do
    if more[i + 1] ~= '' then
      event[#event + 1] = more[i]
      event[#event + 1] = more[i + 1]
    end
  end
  call('XADD', P .. 'ev', 'MAXLEN', '~', 10000, '*', unpack(event))
end

-- What answers and sweeps need of a task; nil where there is none.
local function task(id)
  local f = call('HMGET', P .. 't:' .. id, 'class', 'prio', 'state', 'att', 'max', 'seq', 'token', 'out', 'worker',
    'start')
  if not f[1] then return nil end
  return {
    id = id, class = f[1], prio = tonumber(f[2]), state = f[3], att = tonumber(f[4]), max = tonumber(f[5]),
    member = member(f[6], id), token = f[7] or '', out = f[8] or '', worker = kept(id, 'worker', f[9]),
    start = tonumber(f[10] or 0),
  }
end

-- The attempt under way failed: another one after `pause` milliseconds, or none where `pause` is nil.
-- True where it is dead now.
local function attempt_failed(t, out, error, pause)
  local key = P .. 't:' .. t.id
  local dead = not pause or t.att >= t.max
  local err = keep(t.id, 'err', error)
  if dead then
    call('ZADD', P .. 'd:' .. t.class, now, t.member)
    call('HSET', key, 'state', 'failed', 'out', out, 'pause', -1, 'end', now, 'err', err)
  elseif pause > 0 then
    call('ZADD', P .. 'z:' .. t.class, now + pause, t.member)
    call('HSET', key, 'state', 'pending', 'out', out, 'pause', pause, 'due', now + pause, 'err', err)
  else
    call('ZADD', P .. 'w:' .. t.class, -t.prio, t.member)
    call('HSET', key, 'state', 'pending', 'out', out, 'pause', pause, 'err', err)
  end
  call('ZREM', P .. 'l:' .. t.class, t.member)
  tell(dead and 'task_failed' or 'task_retrying', t.id, t.class, t.att,
    { 'worker', t.worker, 'token', t.token, 'error', error })
  return dead
end

-- Of `1000,2000,4000`: the pause after attempt number `attempt`; the last one for all further ones.
local function pauses(list)
  local all = {}
  for ms in string.gmatch(list, '%d+') do all[#all + 1] = tonumber(ms) end
  return function(attempt) return all[math.max(1, math.min(attempt, #all))] end
end
