-- KEYS: session, recently revoked. ARGV: id, reason, keep (ms). Returns 0 for an unknown session, 1 for one that had ended
-- before, 2 for one that ended now.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
if redis.call('HEXISTS', KEYS[1], 'revoked') == 1 then
  return 1
end
local now = now_ms()
redis.call('HSET', KEYS[1], 'revoked', text(now), 'reason', ARGV[2])
note_revoked(KEYS[2], ARGV[1], now, tonumber(ARGV[3]))
return 2
