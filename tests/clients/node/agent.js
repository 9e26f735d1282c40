// A test client on kafkajs. It reads commands, runs each when it comes and writes the answers: ../PROTOCOL.md.
const { readFileSync } = require('fs');
const readline = require('readline');
const { Kafka, CompressionTypes, Partitioners, logLevel } = require(process.argv[2]);

const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP };

const fromText = (text) => (text === null ? null : Buffer.from(text, 'base64'));
const toText = (bytes) => (bytes === null ? null : bytes.toString('base64'));

const kafka = (options, more = {}) =>
  new Kafka({
    clientId: options.client_id ?? 'kafkajs',
    brokers: options.bootstrap.split(','),
    logLevel: logLevel.ERROR,
    ...(options.tls && { ssl: tls(options.tls) }),
    ...(options.sasl && { sasl: login(options.sasl) }),
    ...more,
  });

const tls = ({ ca, identity, version_max }) => ({
  ca: [readFileSync(ca)],
  ...(identity && { cert: readFileSync(identity), key: readFileSync(identity) }),
  ...(version_max && { maxVersion: `TLSv${version_max}` }),
});

const login = ({ mechanism, user, password, token_file }) => ({
  mechanism: mechanism.toLowerCase(),
  ...(token_file
    ? { oauthBearerProvider: async () => ({ value: readFileSync(token_file, "utf8") }) }
    : { username: user, password }),
});

const produce = async ({ options, transactions }) => {
  const producer = kafka(options).producer({
    createPartitioner: partitioner,
    idempotent: options.idempotent ?? options.transactional_id !== undefined,
    ...(options.transactional_id && { transactionalId: options.transactional_id, maxInFlightRequests: 1 }),
  });
  await producer.connect();
  const deliveries = [];
  try {
    for (const { outcome, records } of transactions) {
      const sender = outcome ? await producer.transaction() : producer;
      deliveries.push(...(await send(sender, options, records)));
      if (outcome) await (outcome === 'commit' ? sender.commit() : sender.abort());
    }
  } finally {
    await producer.disconnect();
  }
  return { deliveries };
};

// kafkajs's own partitioner, which does not tell what it chooses.
const chosen = new WeakMap();
const partitioner = () => {
  const choose = Partitioners.DefaultPartitioner();
  return (place) => {
    const partition = choose(place);
    chosen.set(place.message, partition);
    return partition;
  };
};

// One batch for each partition: a record's offset is the batch's, and its place among the partition's records.
const send = async (sender, options, records) => {
  const topics = new Map();
  for (const record of records) {
    if (!topics.has(record.topic)) topics.set(record.topic, []);
    topics.get(record.topic).push(message(record));
  }
  const sent = await sender.sendBatch({
    acks: options.acks === undefined || options.acks === 'all' ? -1 : Number(options.acks),
    compression: CODECS[options.codec ?? 'none'],
    topicMessages: [...topics].map(([topic, messages]) => ({ topic, messages })),
  });
  const next = new Map();
  for (const { topicName, partition, baseOffset } of sent ?? []) next.set(`${topicName} ${partition}`, Number(baseOffset));
  const messages = new Map([...topics].map(([topic, messages]) => [topic, messages.values()]));
  return records.map(({ topic }) => {
    const partition = chosen.get(messages.get(topic).next().value);
    const place = `${topic} ${partition}`;
    const offset = next.get(place) ?? -1;
    if (offset >= 0) next.set(place, offset + 1);
    return { topic, partition, offset, error: null };
  });
};

const message = ({ key, value, headers, partition, timestamp }) => ({
  key: fromText(key),
  value: fromText(value),
  headers: Object.fromEntries(headers.map(([name, header]) => [name, fromText(header)])),
  ...(partition !== null && { partition }),
  ...(timestamp !== null && { timestamp: String(timestamp) }),
});

// kafkajs reads as a member of a group only: where none is named, it gets one of its own.
const consume = async ({ options, topics, partitions, count, timeout_ms, settle_ms }) => {
  const groupId = options.group ?? `alone-${process.pid}-${Date.now()}-${Math.random()}`;
  const consumer = kafka(options).consumer({
    groupId,
    maxWaitTimeInMs: 300,
    readUncommitted: options.isolation !== 'read_committed',
  });
  const wanted = partitions && new Set(partitions.map(([topic, partition]) => `${topic} ${partition}`));
  const names = topics ?? [...new Set(partitions.map(([topic]) => topic))];
  const records = [];
  await consumer.connect();
  try {
    await consumer.subscribe({ topics: names, fromBeginning: true });
    const enough = new Promise((resolve) => {
      setTimeout(resolve, timeout_ms).unref();
      const eachMessage = async ({ topic, partition, message }) => {
        if (!wanted || wanted.has(`${topic} ${partition}`)) records.push(consumed(topic, partition, message));
        if (records.length >= count) resolve();
      };
      consumer.run({ eachMessage });
    });
    await enough;
    await new Promise((resolve) => setTimeout(resolve, settle_ms));
  } finally {
    await consumer.disconnect();
  }
  return { records };
};

const consumed = (topic, partition, { offset, timestamp, key, value, headers }) => ({
  topic,
  partition,
  offset: Number(offset),
  timestamp: Number(timestamp),
  timestamp_type: 'create',
  key: toText(key),
  value: toText(value),
  headers: Object.entries(headers ?? {}).flatMap(([name, values]) =>
    [values].flat().map((header) => [name, toText(header ?? null)]),
  ),
});

const reach = async ({ options, timeout_ms }) => {
  const admin = kafka(options, { retry: { retries: 0 }, connectionTimeout: timeout_ms, requestTimeout: timeout_ms }).admin();
  try {
    await admin.connect();
    await admin.listTopics();
  } finally {
    await admin.disconnect();
  }
  return {};
};

const operations = { produce, consume, reach };

const run = async (line) => {
  const command = JSON.parse(line);
  try {
    const operation = operations[command.op];
    if (!operation) throw new Error(`no operation ${command.op}`);
    return { id: command.id, ok: true, result: await operation(command) };
  } catch (error) {
    console.error(error);
    return { id: command.id, ok: false, error: String(error) };
  }
};

const answers = process.stdout;
readline
  .createInterface({ input: process.stdin, terminal: false })
  .on('line', async (line) => answers.write(`${JSON.stringify(await run(line))}\n`))
  // The test has gone: whatever still runs has nobody to report to.
  .on('close', () => process.exit(0));
