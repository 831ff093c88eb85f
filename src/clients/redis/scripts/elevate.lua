-- KEYS: session. ARGV: class, method, time (ms). Returns whether the session is alive.
-- The counter goes up by two: no refresh token of before is the current one or the one before it.
local now = now_ms()
if not is_alive(KEYS[1], now) then
  return 0
end
local acr, amr = unpack(redis.call('HMGET', KEYS[1], 'acr', 'amr'))
if ARGV[1] > acr then
  acr = ARGV[1]
end
if not string.find(' ' .. amr .. ' ', ' ' .. ARGV[2] .. ' ', 1, true) then
  amr = amr == '' and ARGV[2] or amr .. ' ' .. ARGV[2]
end
redis.call('HINCRBY', KEYS[1], 'counter', 2)
redis.call('HSET', KEYS[1], 'acr', acr, 'amr', amr, 'mfa_time', ARGV[3], 'rotated', text(now))
return 1
