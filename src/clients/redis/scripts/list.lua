-- KEYS: user's sessions. ARGV: what comes before a session's id in its key. Returns id, time, record of each that is alive.
local now, found = now_ms(), {}
for _, session in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local key = ARGV[1] .. session
  if is_alive(key, now) then
    found[#found + 1] = { session, text(now), redis.call('HGETALL', key) }
  end
end
return found
