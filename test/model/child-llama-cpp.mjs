// node child-llama-cpp.mjs MODULE TOKENS FILE...: what llama.cpp, in the node-llama-cpp whose main file is MODULE, says
// of the token after these (a JSON array), for each GGUF file: as JSON, an array of probabilities by token.
import { pathToFileURL } from 'node:url';

const [module, list, ...files] = process.argv.slice(2);
const { getLlama } = await import(pathToFileURL(module).href);
const tokens = JSON.parse(list);

const llama = await getLlama({ gpu: false, build: 'never', progressLogs: false, logLevel: 'error' });
const all = [];
for (const modelPath of files) {
  const model = await llama.loadModel({ modelPath });
  // Several would wait for each other in loops.
  const context = await model.createContext({ contextSize: 256, threads: 1 });
  const last = [
    tokens.at(-1),
    { generateNext: { probabilities: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } } },
  ];
  const results = await context.getSequence().controlledEvaluate([...tokens.slice(0, -1), last]);
  const probabilities = [];
  for (const [token, probability] of results.at(-1).next.probabilities) probabilities[token] = probability;
  all.push(probabilities);
  await model.dispose();
}
console.log(JSON.stringify(all));
await llama.dispose();
