-- wrk fetches one file, by four pipelined requests at a time, and counts the answers that
-- differ from the file: wrk -s whole.lua URL -- FILE

local threads = {}
wrong, right = 0, 0

function setup(thread)
  threads[#threads + 1] = thread
end

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  whole = file:read("*a")
  file:close()
  requests = string.rep(wrk.format(), 4)
end

function request()
  return requests
end

function response(status, headers, body)
  if status == 200 and body == whole then right = right + 1 else wrong = wrong + 1 end
end

function done(summary)
  local errors = 0
  for _, count in pairs(summary.errors) do errors = errors + count end
  local counted = { right = 0, wrong = 0 }
  for _, thread in ipairs(threads) do
    for name in pairs(counted) do counted[name] = counted[name] + thread:get(name) end
  end
  io.write(string.format("right %d wrong %d errors %d\n", counted.right, counted.wrong, errors))
end
