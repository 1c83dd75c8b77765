// kafkajs: the client library for Node.js. Arguments: MODULE_FOLDER BOOTSTRAP SCENARIO [key=value ...]
'use strict'

const fs = require('fs')
const path = require('path')

const [moduleFolder, bootstrap, scenario, ...rest] = process.argv.slice(2)
const { Kafka, logLevel } = require(path.join(moduleFolder, 'node_modules', 'kafkajs'))

process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'

const options = Object.fromEntries(rest.map((argument) => {
  const [key, ...value] = argument.split('=')
  return [key, value.join('=')]
}))
const ends = Date.now() + Number(options.timeout || 60) * 1000
const remainingMilliseconds = () => Math.max(0, ends - Date.now())

let stopAsked = false
process.on('SIGTERM', () => { stopAsked = true })

const emit = (line) => process.stdout.write(JSON.stringify(line) + '\n')

function need(name) {
  if (options[name] === undefined) throw new Error(`scenario ${scenario} needs ${name}=`)
  return options[name]
}

function client() {
  const settings = {
    clientId: 'narrows-test-kafkajs',
    brokers: bootstrap.split(','),
    logLevel: logLevel.WARN,
    logCreator: () => ({ log }) => process.stderr.write(`kafkajs: ${log.message} ${log.error || ''}\n`),
    retry: { retries: 8 },
  }
  const security = options.security || 'PLAINTEXT'
  if (security.endsWith('SSL')) {
    settings.ssl = { ca: [fs.readFileSync(need('cafile'), 'utf8')] }
    if (options.certfile) {
      settings.ssl.cert = fs.readFileSync(options.certfile, 'utf8')
      settings.ssl.key = fs.readFileSync(need('keyfile'), 'utf8')
    }
  }
  if (security.startsWith('SASL_')) {
    settings.sasl = {
      mechanism: (options.mechanism || 'PLAIN').toLowerCase(),
      username: need('username'),
      password: need('password'),
    }
  }
  return new Kafka(settings)
}

async function withAdmin(action) {
  const admin = client().admin()
  await admin.connect()
  try {
    return await action(admin)
  } finally {
    await admin.disconnect()
  }
}

async function metadata() {
  const line = await withAdmin(async (admin) => {
    const { brokers } = await admin.describeCluster()
    const answer = { brokers: brokers.map(({ nodeId, host, port }) => ({ id: nodeId, host, port })) }
    if (options.topic) {
      const { topics } = await admin.fetchTopicMetadata({ topics: [options.topic] })
      answer.partitions = topics[0].partitions.map(({ partitionId, leader }) => ({ partition: partitionId, leader }))
    }
    return answer
  })
  emit(line)
}

async function list() {
  emit({ topics: (await withAdmin((admin) => admin.listTopics())).sort() })
}

// One send for many records answers with each partition's base offset only, so every record is a send of its own,
// at most IN_FLIGHT_MAX of them at a time.
const IN_FLIGHT_MAX = 100

async function produce() {
  const [topic, tag, count] = [need('topic'), need('tag'), Number(need('count'))]
  const acks = (options.acks || 'all') === 'all' ? -1 : Number(options.acks)
  const producer = client().producer({ allowAutoTopicCreation: true })
  await producer.connect()
  let acked = 0
  const failures = []
  const send = async (index) => {
    const key = `${tag}-${index}`
    try {
      const [sent] = await producer.send({
        topic, acks, messages: [{ key, value: `${tag}:${index}:${'x'.repeat(index % 512)}` }],
      })
      acked += 1
      emit({ key, partition: sent.partition, offset: Number(sent.baseOffset) })
    } catch (error) {
      failures.push(String(error))
      emit({ key, error: String(error) })
    }
  }
  for (let start = 0; start < count && !stopAsked && remainingMilliseconds() > 0; start += IN_FLIGHT_MAX) {
    const indexes = Array.from({ length: Math.min(IN_FLIGHT_MAX, count - start) }, (_, i) => start + i)
    await Promise.all(indexes.map(send))
  }
  await producer.disconnect()
  emit({ done: true, count: acked, failed: failures.length })
  if (failures.length) throw new Error(`${failures.length} records failed: ${failures[0]}`)
  if (acked < count && !stopAsked) throw new Error(`the time was up after ${acked} records`)
}

async function consume() {
  const [topic, count, groupId] = [need('topic'), Number(need('count')), need('group')]
  const consumer = client().consumer({
    groupId, sessionTimeout: 10000, heartbeatInterval: 3000, maxWaitTimeInMs: 200, retry: { retries: 8 },
  })
  let read = 0
  let crash = null
  const next = new Map() // partition -> the offset to commit
  consumer.on(consumer.events.CRASH, ({ payload }) => { if (!payload.restart) crash = payload.error })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      if (read >= count) return
      read += 1
      next.set(partition, (BigInt(message.offset) + 1n).toString())
      emit({ key: message.key.toString(), value: message.value.toString(), partition, offset: Number(message.offset) })
    },
  })
  while (read < count && !stopAsked && !crash && remainingMilliseconds() > 0) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  if (next.size) {
    await consumer.commitOffsets([...next].map(([partition, offset]) => ({ topic, partition, offset })))
  }
  await consumer.disconnect()
  if (crash) throw crash
  if (read < count && !stopAsked) throw new Error(`${read} of ${count} records were read when the time was up`)
  emit({ done: true, count: read })
}

function end(code) {
  // stdout may be a pipe that is not drained yet: leave when it is.
  process.stdout.write('', () => process.exit(code))
}

function fail(sentence) {
  process.stderr.write(`error: ${sentence}\n`)
  end(1)
}

const scenarios = { metadata, list, produce, consume }
// Some waits inside kafkajs have no end of their own.
setTimeout(() => fail(`${scenario} was not done when the time was up`), remainingMilliseconds() + 3000).unref()
if (!scenarios[scenario]) {
  fail(`this client has no scenario ${scenario}; it has ${Object.keys(scenarios).join(', ')}`)
} else {
  scenarios[scenario]().then(() => end(0), (error) => fail(error.message || String(error)))
}
