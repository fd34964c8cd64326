-- Before the scripts that read: one task as a list, in the order that ../record.rs reads; false where there is none.

local FIELDS = { 'class', 'prio', 'state', 'att', 'max', 'sub', 'start', 'end', 'due', 'flow', 'worker', 'err' }

local function record(id, with_result)
  local f = call('HMGET', P .. 't:' .. id, unpack(FIELDS))
  if not f[1] then return false end
  local pending = f[3] == 'pending'
  f[8] = not pending and f[3] ~= 'running' and f[8]
  f[9] = pending and f[9] and string.format('%d', math.max(0, f[9] - now))
  for i = 10, 12 do f[i] = kept(id, FIELDS[i], f[i]) end
  f[13] = with_result and f[3] == 'completed' and call('GET', P .. 'o:' .. id)
  f[14] = id
  return f
end
