-- KEYS: session. ARGV: counter, idle end (ms), keep (ms). Returns whether this call rotated, the time, the record.
local now, won = now_ms(), 0
if is_alive(KEYS[1], now) and redis.call('HGET', KEYS[1], 'counter') == ARGV[1] then
  local idle = math.min(tonumber(ARGV[2]), tonumber(redis.call('HGET', KEYS[1], 'absolute')))
  redis.call('HINCRBY', KEYS[1], 'counter', 1)
  redis.call('HSET', KEYS[1], 'rotated', text(now), 'idle', text(idle))
  forget_later(KEYS[1], tonumber(ARGV[3]))
  won = 1
end
return { won, text(now), redis.call('HGETALL', KEYS[1]) }
