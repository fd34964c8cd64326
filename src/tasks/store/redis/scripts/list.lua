-- ARGV: how many, then score and member of the last one of the part before (empty ones: none), then names of sorted
-- sets: the part goes on in the first of them. Each is read as its first letter says: what waits from the front, what
-- has ended from the back, what runs by the number of its submission. Records; then for the last one the number of
-- its set (from 0), score and member, where there may be more.

local limit, score, after = tonumber(ARGV[1]), ARGV[2], ARGV[3]

local function seq_of(m)
  return tonumber(string.sub(m, 1, 16))
end

-- Whether what stands at `rank` of a set comes after what was listed last. In both directions sets are ordered by
-- score and, within one, by number.
local function comes_after(key, rank, backwards)
  local at = call(backwards and 'ZREVRANGE' or 'ZRANGE', key, rank, rank, 'WITHSCORES')
  local s, n = tonumber(at[2]), seq_of(at[1])
  local s0, n0 = tonumber(score), seq_of(after)
  if s ~= s0 then return (s > s0) ~= backwards end
  if n == n0 then return false end
  return (n > n0) ~= backwards
end

local function page(key, backwards, count)
  local rank = 0
  if after ~= '' then
    local high = call('ZCARD', key)
    while rank < high do
      local middle = math.floor((rank + high) / 2)
      if comes_after(key, middle, backwards) then high = middle else rank = middle + 1 end
    end
  end
  return call(backwards and 'ZREVRANGE' or 'ZRANGE', key, rank, rank + count - 1, 'WITHSCORES')
end

-- Leases are ordered by when they lapse, which each heartbeat changes.
local function running(key, count)
  local all = call('ZRANGE', key, 0, -1)
  table.sort(all, function(a, b) return seq_of(a) > seq_of(b) end)
  local found = {}
  for _, m in ipairs(all) do
    if #found >= 2 * count then break end
    if after == '' or seq_of(m) < seq_of(after) then
      found[#found + 1] = m
      found[#found + 1] = '0'
    end
  end
  return found
end

-- False where it does not belong there (common.lua), or is gone.
local function listed(kind, m)
  local listed = record(id_of(m), false)
  return listed and listed[3] == STATES[kind] and listed
end

local came = {}
for i = 4, #ARGV do
  local key, kind = P .. ARGV[i], string.sub(ARGV[i], 1, 1)
  local found
  if kind == 'l' then
    found = running(key, limit - #came)
  else
    found = page(key, kind ~= 'w' and kind ~= 'z', limit - #came)
  end
  for j = 1, #found, 2 do
    came[#came + 1] = listed(kind, found[j])
    if #came >= limit then return { came, i - 4, found[j + 1], found[j] } end
  end
  score, after = '', ''
end
return { came }
