// A group reader on kafkajs: it prints the offset of each message that it is given, until its input ends.
const [, , library, bootstrap, topic, group] = process.argv;
const { Kafka, logLevel } = require(library);

const kafka = new Kafka({ clientId: 'reader', brokers: [bootstrap], logLevel: logLevel.ERROR });
const consumer = kafka.consumer({ groupId: group, maxWaitTimeInMs: 300 });

const read = async () => {
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({ eachMessage: async ({ message }) => console.log(message.offset) });
};

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
read().catch((error) => {
  console.error(error);
  process.exit(1);
});
