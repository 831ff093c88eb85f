-- KEYS: session. Returns the time and the record.
return { text(now_ms()), redis.call('HGETALL', KEYS[1]) }
