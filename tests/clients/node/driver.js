// What the drivers for Node.js share. Arguments: MODULE_FOLDER BOOTSTRAP SCENARIO [key=value ...]
'use strict'

const [moduleFolder, bootstrap, scenario, ...rest] = process.argv.slice(2)

const options = Object.fromEntries(rest.map((argument) => {
  const [key, ...value] = argument.split('=')
  return [key, value.join('=')]
}))
const ends = Date.now() + Number(options.timeout || 60) * 1000
const remainingMilliseconds = () => Math.max(0, ends - Date.now())

let stopped = false
process.on('SIGTERM', () => { stopped = true })
const stopAsked = () => stopped

const emit = (line) => process.stdout.write(JSON.stringify(line) + '\n')

function need(name) {
  if (options[name] === undefined) throw new Error(`scenario ${scenario} needs ${name}=`)
  return options[name]
}

// Record i of a tag; every client makes and expects the same ones.
const record = (tag, i) => ({ key: `${tag}-${i}`, value: `${tag}:${i}:${'x'.repeat(i % 512)}` })

// One send for many records answers with each partition's base offset only, so every record is a send of its own,
// at most IN_FLIGHT_MAX of them at a time. `send` answers with the record's partition and offset.
const IN_FLIGHT_MAX = 100

async function produceEach(send, inFlightMax = IN_FLIGHT_MAX) {
  const [tag, count] = [need('tag'), Number(need('count'))]
  let acked = 0
  const failures = []
  const one = async (index) => {
    const { key, value } = record(tag, index)
    try {
      emit({ key, ...await send({ key, value }) })
      acked += 1
    } catch (error) {
      failures.push(String(error))
      emit({ key, error: String(error) })
    }
  }
  for (let start = 0; start < count && !stopped && remainingMilliseconds() > 0; start += inFlightMax) {
    const indexes = Array.from({ length: Math.min(inFlightMax, count - start) }, (_, i) => start + i)
    await Promise.all(indexes.map(one))
  }
  emit({ done: true, count: acked, failed: failures.length })
  if (failures.length) throw new Error(`${failures.length} records failed: ${failures[0]}`)
  if (acked < count && !stopped) throw new Error(`the time was up after ${acked} records`)
}

// Commits and aborts transactions of ten records by turns, and reports the committed records. `begin` answers with
// { send, commit, abort }.
const TRANSACTION = 10

async function transact(begin) {
  const [tag, count] = [need('tag'), Number(need('count'))]
  let committed = 0
  for (let start = 0; start < count; start += TRANSACTION) {
    const transaction = await begin()
    const lines = []
    for (let i = start; i < Math.min(count, start + TRANSACTION); i++) {
      lines.push({ key: record(tag, i).key, ...await transaction.send(record(tag, i)) })
    }
    if ((start / TRANSACTION) % 2) {
      await transaction.abort()
    } else {
      await transaction.commit()
      lines.forEach(emit)
      committed += lines.length
    }
  }
  emit({ done: true, count: committed, failed: 0 })
}

// The node.id that a broker's configuration has: only the broker itself answers for it.
function ensureNodeId(broker, nodeId) {
  emit({ step: 'describeConfigs', broker, 'node.id': nodeId })
  if (String(broker) !== nodeId) throw new Error(`the configuration of broker ${broker} says node.id=${nodeId}`)
}

function end(code) {
  // stdout may be a pipe that is not drained yet: leave when it is.
  process.stdout.write('', () => process.exit(code))
}

function fail(sentence) {
  process.stderr.write(`error: ${sentence}\n`)
  end(1)
}

function drive(scenarios) {
  // Some waits inside the libraries have no end of their own.
  setTimeout(() => fail(`${scenario} was not done when the time was up`), remainingMilliseconds() + 3000).unref()
  if (!scenarios[scenario]) {
    fail(`this client has no scenario ${scenario}; it has ${Object.keys(scenarios).join(', ')}`)
  } else {
    scenarios[scenario]().then(() => end(0), (error) => { process.stderr.write(require('util').inspect(error, { depth: 6 }) + '\n'); fail(error.message || String(error)) })
  }
}

module.exports = {
  bootstrap: bootstrap.split(','), drive, emit, ensureNodeId, moduleFolder, need, options, produceEach, remainingMilliseconds,
  stopAsked, transact,
}
