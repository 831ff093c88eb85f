-- KEYS: session, user's sessions. ARGV: id, keep (ms), absolute end (ms), then fields and values.
local now, keep = now_ms(), tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'counter', '1', 'created', text(now), 'rotated', text(now), unpack(ARGV, 4))
forget_later(KEYS[1], keep)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now))
redis.call('ZADD', KEYS[2], text(tonumber(ARGV[3]) + keep), ARGV[1])
redis.call('PEXPIREAT', KEYS[2], text(tonumber(redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2])))
