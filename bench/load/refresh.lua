-- wrk script: every thread keeps one session alive and exchanges its refresh token as fast as it is answered.
--
--   wrk -t N -c N ... -s refresh.lua URL -- SESSIONS_FILE
--
-- The sessions file has at least N "host<TAB>refresh token" lines. One connection for each thread, because a script cannot tell
-- its connections apart, and the next request needs the last one's answer.
local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init(args)
   local line_number = 0
   for line in io.lines(args[1]) do
      if line_number == number then
         host, token = line:match("^([^\t]+)\t(.+)$")
      end
      line_number = line_number + 1
   end
end

function request()
   return wrk.format("POST", "/auth/refresh", { ["Host"] = host, ["Content-Type"] = "application/json" },
      '{"refresh_token":"' .. token .. '"}')
end

function response(status, headers, body)
   if status == 200 then
      token = body:match('"refresh_token":"([^"]+)"')
   end
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format(
      'RESULT {"requests":%d,"duration_us":%d,"bytes":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,' ..
      '"errors":{"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}}\n',
      summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99), latency.max,
      e.connect, e.read, e.write, e.timeout, e.status))
end
