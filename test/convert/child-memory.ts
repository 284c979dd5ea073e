import { convertModel } from '../../lib/index';

// child-memory.ts INPUT OUTPUT WEIGHTS: prints the bytes of the file, and how much memory the process had at most.
const [input = '', output = '', weights] = process.argv.slice(2);
void convertModel(input, output, { weights: weights === 'f32' ? 'f32' : 'int8', threads: 2 }).then(
  ({ bytes }) => {
    process.stdout.write(JSON.stringify({ bytes, peak: process.resourceUsage().maxRSS * 1024 }));
  },
);
