import { existsSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import type { Command } from 'commander';
import { formatBytes } from '../format-bytes';
import { cLibrary, describePlatform, describeRuntime } from '../platform';
import { maxThreads } from '../threads';
import { exitCode, printableMessage } from './errors';
import { library } from './library';
import { testEmbeddedModel } from './self-test';
import { formatJson, printable, styled } from './terminal';

/** One thing that was looked at. What is `broken` makes the command fail, a `warning` does not. */
interface Finding {
  name: string;
  status: 'ok' | 'warning' | 'broken';
  /** What was found, and where it is not ok, what to do. */
  found: string;
  /** The same for programs, where that is more than words. */
  details?: Readonly<Record<string, unknown>>;
}

const examples = `
Exit code 1 where something is broken.

Examples:
  $ wkv doctor
  $ wkv doctor --json`;

export function addDoctor(program: Command, version: string): void {
  program
    .command('doctor')
    .summary(
      'show which binary, instruction set and device are used, why not a better one, and whether anything is broken',
    )
    .description(
      'Shows which binary, instruction set and device are used, why not a better one, and whether anything is broken.',
    )
    .option('--json', 'print one JSON object')
    .addHelpText('after', examples)
    .action(async ({ json }: { json?: true }) => {
      const findings = [runtime(version), addon()];
      if (findings.every(({ status }) => status !== 'broken')) {
        findings.push(instructionSet(), device(), threads(), memory(), vocabulary(), await embeddedModel());
      }
      const healthy = findings.every(({ status }) => status !== 'broken');
      process.stdout.write(json === true ? formatJson({ healthy, findings }) : describe(findings, healthy));
      if (!healthy) process.exitCode = exitCode.failed;
    });
}

function runtime(version: string): Finding {
  const { platform, arch, versions } = process;
  return {
    name: 'version',
    status: 'ok',
    found: `wkv ${version}, ${describeRuntime()}, ${describePlatform()}`,
    details: {
      wkv: version,
      runtime: describeRuntime(),
      node: versions.node,
      platform,
      arch,
      libc: cLibrary() ?? null,
    },
  };
}

function addon(): Finding {
  return attempt('binary', () => {
    const path = library().addonPath();
    return { found: printable(path), details: { path } };
  });
}

/** By processor, best first. */
const instructionSets: Readonly<Record<string, readonly string[]>> = {
  arm64: ['i8mm', 'dotprod', 'neon'],
  x64: ['avx512vnni', 'avx512', 'avxvnni', 'avx2'],
};

function instructionSet(): Finding {
  const { isa, selected, note } = library().native.features();
  const wanted = process.env['WKV_ISA'];
  const processor = cpus()[0]?.model.trim() ?? 'this processor';
  const family = instructionSets[process.arch] ?? [];
  // What is behind the best that there is would be no gain.
  const better = isa[0] !== undefined && family.includes(isa[0]) ? family.indexOf(isa[0]) : family.length;
  const missing = family.slice(0, better);
  const why =
    note !== ''
      ? note
      : selected !== isa[0]
        ? `because WKV_ISA=${wanted ?? ''} asks for it; without it ${isa[0] ?? ''}`
        : missing.length > 0
          ? `the best that ${processor} and its system offer; there is no ${missing.join(', no ')}`
          : `the best there is for ${processor}`;
  return {
    name: 'instruction set',
    status: note === '' ? 'ok' : 'warning',
    found: `${selected} of ${isa.join(', ')}: ${printable(why)}`,
    details: { selected, available: isa, processor, wanted: wanted ?? null },
  };
}

function device(): Finding {
  const { cuda } = library().kernels.features();
  const found = cuda.available
    ? [
        ...cuda.devices.map((each) => `${each.device} (${each.name}, ${each.computeCapability})`),
        ...cuda.unusable.map((each) => `not ${each.device}: ${each.reason}`),
      ].join(', ')
    : `no cuda: ${cuda.reason}`;
  // Whoever names a library wants it.
  const missing = !cuda.available && (process.env['WKV_CUDA_LIBRARY'] ?? '') !== '';
  return {
    ...{ name: 'device', status: missing ? 'warning' : 'ok' },
    ...{ found: printable(`cpu; ${found}`), details: { cpu: true, cuda } },
  };
}

function threads(): Finding {
  const usable = library().usableThreads();
  const offered = availableParallelism();
  const processors = cpus().length;
  const why =
    usable < offered
      ? `${usable === maxThreads ? 'more are not used' : 'the cgroup limits the process to that'}; ${offered} processors are offered`
      : offered < processors
        ? `the process may run on ${offered} of ${processors} processors (affinity)`
        : `all processors`;
  return {
    name: 'threads',
    status: 'ok',
    found: `${usable}: ${why}`,
    details: { used: usable, offered, processors },
  };
}

function memory(): Finding {
  const free = library().usableMemory();
  const limit = process.constrainedMemory();
  const limited = limit > 0 && limit < totalmem();
  const within = limited ? `, limited to ${formatBytes(limit)} for this process` : '';
  return {
    name: 'memory',
    status: 'ok',
    found: `${formatBytes(free)} free of ${formatBytes(totalmem())}${within}`,
    details: { freeBytes: free, totalBytes: totalmem(), limitBytes: limited ? limit : null },
  };
}

function vocabulary(): Finding {
  const { Tokenizer, worldVocabularyPath: path } = library();
  const name = 'vocabulary';
  const finding = attempt(name, () => {
    const { size } = Tokenizer.world();
    return { found: `RWKV World, ${size} ids, ${printable(path)}`, details: { path } };
  });
  // Without it, models of bytes and models with a vocabulary of their own still work.
  return finding.status === 'broken' && !existsSync(path) ? { ...finding, status: 'warning' } : finding;
}

async function embeddedModel(): Promise<Finding> {
  const name = 'embedded model';
  try {
    const { found, failures } = await testEmbeddedModel();
    return failures.length === 0
      ? { name, status: 'ok', found: `loads, computes, and goes on with ${JSON.stringify(printable(found))}` }
      : { name, status: 'broken', found: failures.join('; ') };
  } catch (error) {
    return { name, status: 'broken', found: printableMessage(error) };
  }
}

/** A finding that is broken where looking for it throws. */
function attempt(name: string, look: () => Pick<Finding, 'found' | 'details'>): Finding {
  try {
    return { name, status: 'ok', ...look() };
  } catch (error) {
    return { name, status: 'broken', found: printableMessage(error) };
  }
}

function describe(findings: readonly Finding[], healthy: boolean): string {
  const marks = {
    ok: styled('green', 'ok     '),
    warning: styled('yellow', 'warning'),
    broken: styled('red', 'broken '),
  };
  const width = Math.max(...findings.map(({ name }) => name.length));
  const lines = findings.map(
    ({ name, status, found }) => `${marks[status]}  ${name.padEnd(width)}  ${found}\n`,
  );
  return `${lines.join('')}${healthy ? 'Nothing is broken.' : 'Something is broken: see above.'}\n`;
}
