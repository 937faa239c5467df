/**
 * Writes the types of the APIs from their documents; with --check it only compares.
 *
 * An AsyncAPI document becomes one type `Verbs`: what each command takes, answers and may say before.
 */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import openapiTS, { astToString, COMMENT_HEADER } from "openapi-typescript";

const FILES = [
  { from: "openapi/fleet_server.json", to: "src/api/fleet_server.d.ts" },
  { from: "openapi/patient_platform.json", to: "src/api/patient_platform.d.ts" },
  { from: "openapi/kiosk_agent.json", to: "src/api/kiosk_agent.d.ts" },
  { from: "asyncapi/kiosk_agent.json", to: "src/devices/kiosk_agent.d.ts" },
];
const OPTIONS = { rootTypes: true, alphabetize: true };

const objectOf = (properties) => ({
  type: "object",
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
});
const payloadOf = (message) => message.payload.properties.payload;

/** The commands of a document, each with its payloads. */
function verbsOf({ operations, components: { messages } }) {
  const verbs = {};
  for (const [name, operation] of Object.entries(operations)) {
    if (operation.action !== "receive") continue;
    const [result, failure] = payloadOf(messages[`${name}.completion`]).anyOf;
    const events = Object.entries(messages).filter(([key]) => key.startsWith(`${name}.event.`));
    verbs[name] = objectOf({
      request: payloadOf(messages[`${name}.command`]),
      result,
      failure,
      events: objectOf(Object.fromEntries(events.map(([, message]) => [message.name, payloadOf(message)]))),
    });
  }
  return objectOf(verbs);
}

/** What belongs to no command, by name. */
function unsolicitedOf({ components: { messages } }) {
  const free = Object.entries(messages).filter(([, { payload }]) => payload.properties.header.properties.type.const === "unsolicited");
  return objectOf(Object.fromEntries(free.map(([name, message]) => [name, payloadOf(message)])));
}

function asSchemas(document) {
  const schemas = { ...document.components.schemas, Verbs: verbsOf(document), Unsolicited: unsolicitedOf(document) };
  return { openapi: "3.1.0", info: document.info, paths: {}, components: { schemas } };
}

async function typesOf(file) {
  const document = JSON.parse(await readFile(file, "utf8"));
  // A command's field with a default may be left out; a response of the HTTP API always has it.
  const [schema, options] =
    document.asyncapi === undefined ? [document, OPTIONS] : [asSchemas(document), { ...OPTIONS, defaultNonNullable: false }];
  return `${COMMENT_HEADER}${astToString(await openapiTS(schema, options))}`;
}

const isCheck = process.argv.includes("--check");
for (const { from, to } of FILES) {
  const target = new URL(to, import.meta.url);
  const wanted = await typesOf(new URL(from, import.meta.url));
  const found = await readFile(target, "utf8").catch(() => "");
  if (found === wanted) continue;
  if (isCheck) {
    process.stderr.write(`${to} is not that of ${from}; run: npm run generate\n`);
    process.exitCode = 1;
  } else {
    await writeFile(target, wanted);
    process.stdout.write(`written: ${fileURLToPath(target)}\n`);
  }
}
