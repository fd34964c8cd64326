-- ARGV: 1 where results are wanted, else 0; then ids. A record for each.

local came = {}
for i = 2, #ARGV do came[#came + 1] = record(ARGV[i], ARGV[1] == '1') end
return came
