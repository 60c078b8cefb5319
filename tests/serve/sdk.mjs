// What a program written against OpenAI's JS SDK does, in order; one JSON object on stdout.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const model = "tiny";
const messages = [{ role: "user", content: "def f(x):" }];
const tools = JSON.parse(process.argv[3]);
const schema = JSON.parse(process.argv[4]);
const format = { type: "json_schema", json_schema: { name: "verdict", schema, strict: true } };
const said = {};

said.models = [];
for await (const one of client.models.list()) said.models.push(one.id);

const plain = await client.chat.completions.create({ model, messages, seed: 1, max_tokens: 12 });
said.plain = plain.choices[0].message.content;

said.streamed = "";
const stream = await client.chat.completions.create(
  { model, messages, seed: 1, max_tokens: 12, stream: true, stream_options: { include_usage: true } });
for await (const chunk of stream) {
  said.streamed += chunk.choices[0]?.delta?.content ?? "";
  if (chunk.usage) said.usage = chunk.usage;
}

const helper = client.chat.completions.stream(
  { model, messages, seed: 3, tools, tool_choice: { type: "function", function: { name: "grep" } } });
const called = await helper.finalChatCompletion();
said.call = called.choices[0].message.tool_calls[0].function;
said.finish = called.choices[0].finish_reason;

const parsed = await client.chat.completions.parse({ model, messages, seed: 2, response_format: format });
said.parsed = parsed.choices[0].message.parsed;

said.events = [];
const response = client.responses.stream(
  { model, input: "def f(x):", text: { format: { type: "json_schema", name: "verdict", schema } } });
for await (const event of response) said.events.push(event.type);
said.response = (await response.finalResponse()).output_text;

said.errors = {};
for (const [name, body] of Object.entries({
  model: { model: "other", messages },
  field: { model, messages, temperature: 9 },
  schema: { model, messages, response_format: { type: "json_schema", json_schema: { name: "x", schema: { type: "no" } } } },
})) {
  try {
    await client.chat.completions.create(body);
  } catch (error) {
    said.errors[name] = [error.constructor.name, error.status, error.code, error.param, Boolean(error.requestID)];
  }
}

const stopped = await client.chat.completions.create({ model, messages, stream: true });
for await (const chunk of stopped) { stopped.controller.abort(); break; }
said.stopped = true;
console.log(JSON.stringify(said));
