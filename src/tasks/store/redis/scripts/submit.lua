-- ARGV: max_backlog, the attempts of each class in the order of CLASSES, then six for each task: id, hash, class,
-- priority, workflow, payload. A word for each task: new, same, conflict, full.

local max_backlog = tonumber(ARGV[1])
local attempts = {}
local backlog = 0
for i, class in ipairs(CLASSES) do
  attempts[class] = ARGV[1 + i]
  backlog = backlog + call('ZCARD', P .. 'w:' .. class) + call('ZCARD', P .. 'z:' .. class)
end

local came = {}
for i = 6, #ARGV, 6 do
  local id, hash, class, prio, flow, payload = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  local key = P .. 't:' .. id
  local there = call('HGET', key, 'hash')
  if there then
    came[#came + 1] = there == hash and 'same' or 'conflict'
  elseif backlog >= max_backlog then
    came[#came + 1] = 'full'
  else
    local seq = number()
    call('SET', P .. 'p:' .. id, payload)
    call('ZADD', P .. 'w:' .. class, -prio, member(seq, id))
    if flow ~= '' then call('HSET', key, 'flow', keep(id, 'flow', flow)) end
    -- With its hash it is known, and answered with `same` when it is sent again: once all the rest is there.
    call('HSET', key, 'hash', hash, 'class', class, 'prio', prio, 'state', 'pending', 'att', 0, 'max',
      attempts[class], 'sub', now, 'queued', now, 'seq', seq)
    tell('task_submitted', id, class, 0, {})
    backlog = backlog + 1
    came[#came + 1] = 'new'
  end
end
return came
