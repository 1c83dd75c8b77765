// kafkajs: a client library for Node.js.
'use strict'

const fs = require('fs')
const path = require('path')

const {
  bootstrap, drive, emit, ensureNodeId, moduleFolder, need, options, produceEach, remainingMilliseconds, stopAsked, transact,
} = require('./driver.js')
const { ConfigResourceTypes, Kafka, logLevel } = require(path.join(moduleFolder, 'node_modules', 'kafkajs'))

process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'

function client() {
  const settings = {
    clientId: 'narrows-test-kafkajs',
    brokers: bootstrap,
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

async function produce() {
  const topic = need('topic')
  const acks = (options.acks || 'all') === 'all' ? -1 : Number(options.acks)
  const idempotent = options.idempotent === 'true'
  const producer = client().producer({ allowAutoTopicCreation: true, idempotent, maxInFlightRequests: idempotent ? 1 : undefined })
  await producer.connect()
  try {
    await produceEach(async (message) => {
      const [sent] = await producer.send({ topic, acks, messages: [message] })
      // Without acknowledgements nobody tells.
      return sent ? { partition: sent.partition, offset: Number(sent.baseOffset) } : {}
    })
  } finally {
    await producer.disconnect()
  }
}

async function transaction() {
  const topic = need('topic')
  const producer = client().producer({ transactionalId: `${need('tag')}-transactional-id`, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  try {
    await transact(async () => {
      const transaction = await producer.transaction()
      return {
        commit: () => transaction.commit(),
        abort: () => transaction.abort(),
        send: async (message) => {
          const [sent] = await transaction.send({ topic, messages: [message] })
          return { partition: sent.partition, offset: Number(sent.baseOffset) }
        },
      }
    })
  } finally {
    await producer.disconnect()
  }
}

// Asks each broker for its configuration, by node id.
async function admin() {
  await withAdmin(async (admin) => {
    const { brokers } = await admin.describeCluster()
    for (const { nodeId } of brokers) {
      const { resources } = await admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: ConfigResourceTypes.BROKER, name: String(nodeId), configNames: ['node.id'] }],
      })
      ensureNodeId(nodeId, resources[0].configEntries[0].configValue)
    }
  })
  emit({ done: true })
}

async function consume() {
  const [topic, count, groupId] = [need('topic'), Number(need('count')), need('group')]
  const consumer = client().consumer({
    groupId, sessionTimeout: 10000, heartbeatInterval: 3000, maxWaitTimeInMs: 200,
    rackId: options.rack, retry: { retries: 8 },
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
  while (read < count && !stopAsked() && !crash && remainingMilliseconds() > 0) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  if (next.size) {
    await consumer.commitOffsets([...next].map(([partition, offset]) => ({ topic, partition, offset })))
  }
  await consumer.disconnect()
  if (crash) throw crash
  if (read < count && !stopAsked()) throw new Error(`${read} of ${count} records were read when the time was up`)
  emit({ done: true, count: read })
}

drive({ metadata, list, produce, consume, transaction, admin })
