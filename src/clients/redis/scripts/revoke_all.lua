-- KEYS: user's sessions, recently revoked. ARGV: what comes before a session's id in its key, the id to leave (or nothing),
-- reason, keep (ms). Returns the ids that ended now, and those that had ended before.
local now, ended, before = now_ms(), {}, {}
for _, session in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local key = ARGV[1] .. session
  if redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', KEYS[1], session)
  elseif redis.call('HEXISTS', key, 'revoked') == 1 then
    before[#before + 1] = session
  elseif session ~= ARGV[2] then
    redis.call('HSET', key, 'revoked', text(now), 'reason', ARGV[3])
    note_revoked(KEYS[2], session, now, tonumber(ARGV[4]))
    ended[#ended + 1] = session
  end
end
return { ended, before }
