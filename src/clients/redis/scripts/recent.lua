-- KEYS: recently revoked. ARGV: how far back to look (ms).
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. text(now_ms() - tonumber(ARGV[1])), '+inf')
