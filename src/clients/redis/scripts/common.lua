-- Milliseconds since 1970 by this server's clock, which is the one for all nodes.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function text(number)
  return string.format('%.0f', number)
end

local function is_alive(key, now)
  local idle, absolute, revoked = unpack(redis.call('HMGET', key, 'idle', 'absolute', 'revoked'))
  return idle and not revoked and now < tonumber(idle) and now < tonumber(absolute)
end

-- A record stays for a while after its session ran out: access tokens of it may be alive and have to be revocable.
local function forget_later(key, keep)
  local idle, absolute = unpack(redis.call('HMGET', key, 'idle', 'absolute'))
  redis.call('PEXPIREAT', key, text(math.min(tonumber(idle), tonumber(absolute)) + keep))
end

local function note_revoked(recent, session, now, keep)
  redis.call('ZREMRANGEBYSCORE', recent, '-inf', text(now - keep))
  redis.call('ZADD', recent, text(now), session)
  redis.call('PEXPIRE', recent, text(keep))
end
