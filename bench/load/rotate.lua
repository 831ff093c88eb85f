-- wrk script: each request takes the next (host, token) pair of a file, and done() prints one line of JSON.
--
--   wrk ... -s rotate.lua URL -- PAIRS_FILE THREADS
--
-- The pairs file has "host<TAB>token" lines. Requests are built once, before the clock starts; every thread begins at
-- another place of the file, so that threads do not use the same token at the same time.
local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init(args)
   requests = {}
   for line in io.lines(args[1]) do
      local host, token = line:match("^([^\t]+)\t(.+)$")
      requests[#requests + 1] = wrk.format("GET", nil, { ["Host"] = host, ["Authorization"] = "Bearer " .. token })
   end
   position = math.floor(number * #requests / tonumber(args[2]))
end

function request()
   position = position % #requests + 1
   return requests[position]
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format(
      'RESULT {"requests":%d,"duration_us":%d,"bytes":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,' ..
      '"errors":{"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}}\n',
      summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99), latency.max,
      e.connect, e.read, e.write, e.timeout, e.status))
end
