// The Node client, an AMQP stack of its own, against the local endpoint: `node eventhub_node.mjs CONNECTION_STRING`.
// Does a fixed conversation and prints what it saw as one JSON object; the Python test compares.
import {
  EventHubConsumerClient,
  EventHubProducerClient,
  earliestEventPosition,
  latestEventPosition,
} from "@azure/event-hubs";

const connection = process.argv[2];
const group = "$Default";
const DEADLINE_MS = 20_000;

/** The first `count` events of a partition from a position on. */
async function receive(partition, startPosition, count, options = {}) {
  const client = new EventHubConsumerClient(group, connection);
  const events = [];
  let timer;
  try {
    await new Promise((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`${events.length} of ${count} events`)), DEADLINE_MS);
      const processEvents = async (batch) => {
        events.push(...batch);
        if (events.length >= count) resolve();
      };
      const processError = async (error) => reject(error);
      client.subscribe(
        partition,
        { processEvents, processError },
        { startPosition, maxBatchSize: 50, maxWaitTimeInSeconds: 1, ...options },
      );
    });
  } finally {
    clearTimeout(timer);
    await client.close();
  }
  return events;
}

const shown = (event) => ({
  body: Buffer.isBuffer(event.body) ? event.body.toString("hex") : event.body,
  sequence: event.sequenceNumber,
  offset: event.offset,
  enqueued_ms: event.enqueuedTimeUtc.getTime(),
  partition_key: event.partitionKey ?? null,
  properties: event.properties ?? {},
  content_type: event.contentType ?? null,
  system: Object.fromEntries(
    Object.entries(event.systemProperties ?? {}).map(([key, value]) => [
      key,
      value instanceof Date ? value.getTime() : value,
    ]),
  ),
});

/** The code of the error that an action ends with. */
async function refusal(action) {
  try {
    await action();
    return "nothing was refused";
  } catch (error) {
    return error.code ?? String(error);
  }
}

const result = {};
const producer = new EventHubProducerClient(connection);
result.hub = await producer.getEventHubProperties();
result.empty = await producer.getPartitionProperties("0");

const batch = await producer.createBatch({ partitionId: "0" });
result.max_batch = batch.maxSizeInBytes;
for (let number = 0; number < 5; number++) {
  batch.tryAdd({ body: { number }, properties: { text: "é", flag: true }, contentType: "application/json" });
}
await producer.sendBatch(batch);
await producer.sendBatch([{ body: Buffer.alloc(900_000, 7) }], { partitionId: "0" });
for (const part of ["a", "b"]) {
  await producer.sendBatch([{ body: `${part}1` }, { body: `${part}2` }], { partitionKey: "device-1" });
}
result.filled = await producer.getPartitionProperties("0");

const all = await receive("0", earliestEventPosition, 6);
result.all = all.slice(0, 5).map(shown);
result.large = [all[5].body.length, all[5].body.every((byte) => byte === 7)];
const [second, third] = [all[1], all[2]];
const positions = [
  { offset: second.offset },
  { offset: second.offset, isInclusive: true },
  { sequenceNumber: second.sequenceNumber },
  { sequenceNumber: second.sequenceNumber, isInclusive: true },
  { enqueuedOn: new Date(third.enqueuedTimeUtc.getTime() - 3_600_000) },
];
result.first_from = await Promise.all(positions.map(async (at) => (await receive("0", at, 1))[0].sequenceNumber));
result.from_python = (await receive("1", earliestEventPosition, 2)).map(shown);
result.tracked = (await receive("1", earliestEventPosition, 1, { trackLastEnqueuedEventProperties: true })).length;

const waiting = receive("2", latestEventPosition, 1);
let latest = null;
waiting.then((events) => (latest = events));
for (let number = 0; latest === null && number < 200; number++) {
  await producer.sendBatch([{ body: `late ${number}` }], { partitionId: "2" });
  await new Promise((resolve) => setTimeout(resolve, 50));
}
result.latest = shown((await waiting)[0]).body;

result.refusals = {
  partition: await refusal(() => producer.getPartitionProperties("9")),
  beyond: await refusal(() => receive("3", { sequenceNumber: 99 }, 1)),
};
await producer.close();

const stranger = new EventHubProducerClient(connection.replace(/EntityPath=.*/, "EntityPath=nobody"), {
  retryOptions: { maxRetries: 0 },
});
result.refusals.hub = await refusal(() => stranger.getEventHubProperties());
result.refusals.send = await refusal(() => stranger.sendBatch([{ body: "x" }]));
await stranger.close();

console.log(JSON.stringify(result, (_, value) => (value instanceof Date ? value.getTime() : value)));
