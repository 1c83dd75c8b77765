// @platformatic/kafka: a client library for Node.js.
'use strict'

const fs = require('fs')
const path = require('path')
const { pathToFileURL } = require('url')

const {
  bootstrap, drive, emit, ensureNodeId, moduleFolder, need, options, produceEach, remainingMilliseconds, stopAsked, transact,
} = require('./driver.js')

// It is an ES module, which only import() can load from here.
const library = import(pathToFileURL(path.join(moduleFolder, 'node_modules', '@platformatic', 'kafka', 'dist', 'index.js')))

function settings(more) {
  const common = { clientId: 'narrows-test-platformatic', bootstrapBrokers: bootstrap, timeout: 30000, retries: 10, autocreateTopics: true }
  const security = options.security || 'PLAINTEXT'
  if (security.endsWith('SSL')) {
    common.tls = { ca: [fs.readFileSync(need('cafile'), 'utf8')] }
    // Without this it sends no server name.
    common.tlsServerName = true
    if (options.certfile) {
      common.tls.cert = fs.readFileSync(options.certfile, 'utf8')
      common.tls.key = fs.readFileSync(need('keyfile'), 'utf8')
    }
  }
  if (security.startsWith('SASL_')) {
    common.sasl = { mechanism: options.mechanism || 'PLAIN', username: need('username'), password: need('password') }
  }
  return { ...common, ...more }
}

async function withAdmin(action) {
  const { Admin } = await library
  const admin = new Admin(settings())
  try {
    return await action(admin)
  } finally {
    await admin.close()
  }
}

async function metadata() {
  await withAdmin(async (admin) => {
    const found = await admin.metadata({ topics: options.topic ? [options.topic] : [] })
    const line = { brokers: [...found.brokers].map(([id, { host, port }]) => ({ id, host, port })) }
    if (options.topic) {
      line.partitions = found.topics.get(options.topic).partitions.map(({ leader }, partition) => ({ partition, leader }))
    }
    emit(line)
  })
}

async function list() {
  emit({ topics: (await withAdmin((admin) => admin.listTopics())).sort() })
}

// Asks each broker for its configuration, by node id, and for its log directories.
async function admin() {
  const { ConfigResourceTypes } = await library
  await withAdmin(async (admin) => {
    const { brokers } = await admin.metadata({ topics: [] })
    for (const id of brokers.keys()) {
      const [{ configs }] = await admin.describeConfigs({
        resources: [{ resourceType: ConfigResourceTypes.BROKER, resourceName: String(id), configurationKeys: ['node.id'] }],
      })
      ensureNodeId(id, configs.find(({ name }) => name === 'node.id').value)
    }
    for (const { broker, results } of await admin.describeLogDirs({ topics: [] })) {
      emit({ step: 'describeLogDirs', broker, dirs: results.map(({ logDir }) => logDir) })
    }
  })
  emit({ done: true })
}

const serialized = async () => ({ serializers: (await library).stringSerializers })
const place = ({ offsets: [{ partition, offset }] }) => ({ partition, offset: Number(offset) })

async function produce() {
  const { Producer } = await library
  const topic = need('topic')
  const acks = (options.acks || 'all') === 'all' ? -1 : Number(options.acks)
  const producer = new Producer(settings({ ...await serialized(), acks, idempotent: options.idempotent === 'true' }))
  try {
    await produceEach(async (message) => {
      const sent = await producer.send({ messages: [{ topic, ...message }] })
      return sent.offsets?.length ? place(sent) : {}
    })
  } finally {
    await producer.close()
  }
}

async function transaction() {
  const { Producer } = await library
  const topic = need('topic')
  const transactionalId = `${need('tag')}-transactional-id`
  const producer = new Producer(settings({ ...await serialized(), idempotent: true, transactionalId }))
  try {
    await transact(async () => {
      const transaction = await producer.beginTransaction()
      return {
        commit: () => transaction.commit(),
        abort: () => transaction.abort(),
        send: async (message) => place(await transaction.send({ messages: [{ topic, ...message }] })),
      }
    })
  } finally {
    await producer.close()
  }
}

async function consume() {
  const { Consumer, stringDeserializers } = await library
  const [topic, count, groupId] = [need('topic'), Number(need('count')), need('group')]
  const protocol = options.protocol === 'consumer'
    ? { groupProtocol: 'consumer' }
    : { sessionTimeout: 10000, heartbeatInterval: 3000 }
  const consumer = new Consumer(settings({
    groupId, deserializers: stringDeserializers, autocommit: false, maxWaitTime: 200, ...protocol,
    ...(options.static && { groupInstanceId: options.static }), ...(options.rack && { clientRack: options.rack }),
  }))
  const stream = await consumer.consume({ topics: [topic], mode: 'committed', fallbackMode: 'earliest' })
  const timer = setInterval(() => { if (stopAsked() || remainingMilliseconds() === 0) stream.destroy() }, 100)
  let read = 0
  const next = new Map() // partition -> the offset to commit
  try {
    for await (const { key, value, partition, offset } of stream) {
      read += 1
      next.set(partition, offset + 1n)
      emit({ key, value, partition, offset: Number(offset) })
      if (read === count) break
    }
  } catch (error) {
    if (!stopAsked()) throw error
  }
  clearInterval(timer)
  if (next.size) {
    await consumer.commit({
      offsets: [...next].map(([partition, offset]) => ({ topic, partition, offset, leaderEpoch: -1 })),
    })
  }
  await consumer.close(true)
  if (read < count && !stopAsked()) throw new Error(`${read} of ${count} records were read when the time was up`)
  emit({ done: true, count: read })
}

drive({ metadata, list, produce, consume, transaction, admin })
