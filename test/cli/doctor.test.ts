import { existsSync } from 'node:fs';
import os from 'node:os';
import { Command } from 'commander';
import { addDoctor } from '../../lib/cli/doctor';
import { Model } from '../../lib/model';
import { native } from '../../lib/native';
import { describeRuntime } from '../../lib/platform';
import { Session } from '../../lib/session';
import { Tokenizer, worldVocabularyPath } from '../../lib/tokenizer';
import { simulatedCuda, withoutSimulatedCuda } from '../support/cuda';
import { temporaryFolder } from '../support/model';
import { unless } from '../support/unless';
import { json, testWithDemoModel, wkv, type Outcome } from './support';

/** What the file of a cgroup's processors reads as. */
let mockProcessors = '';
jest.mock('../../lib/cgroups', () => ({ cgroupFolders: () => ['/group'], read: () => mockProcessors }));

interface Finding {
  name: string;
  status: 'ok' | 'warning' | 'broken';
  found: string;
  details?: Record<string, unknown>;
}

function findings(outcome: Outcome): { healthy: boolean; finding: (name: string) => Finding | undefined } {
  const report = json(outcome) as { healthy: boolean; findings: Finding[] };
  return { healthy: report.healthy, finding: (name) => report.findings.find((one) => one.name === name) };
}

test.each([
  [{ node: '22.23.3', v8: '12.4' }, 'Node 22.23.3'],
  [{ node: '26.3.0', bun: '1.4.5' }, 'Bun 1.4.5 (Node 26.3.0)'],
  [{ node: '26.3.0', deno: '2.9.6' }, 'Deno 2.9.6 (Node 26.3.0)'],
  [{ node: '24.11.0', electron: '40.0.0' }, 'Electron 40.0.0 (Node 24.11.0)'],
])('what runs it is named: %j', (versions, expected) => {
  expect(describeRuntime(versions)).toBe(expected);
});

describe('wkv doctor', () => {
  testWithDemoModel('finds nothing broken here, in words and as JSON', async () => {
    const words = await wkv(['doctor']);
    expect(words.code).toBe(0);
    expect(String(words.stdout)).toMatch(/^ok +embedded model +loads, computes/m);
    expect(String(words.stdout)).toMatch(/\nNothing is broken\.\n$/);

    const outcome = await wkv(['doctor', '--json']);
    const { healthy, finding } = findings(outcome);
    expect({ code: outcome.code, healthy }).toEqual({ code: 0, healthy: true });
    expect(finding('version')?.details).toMatchObject({ node: process.versions.node, arch: process.arch });
    expect(finding('binary')?.found).toMatch(/\.node$/);
    expect(finding('device')?.found).toMatch(/^cpu; (no cuda: .*CUDA|cuda:0)/);
    expect(finding('threads')?.details?.['used']).toBeGreaterThanOrEqual(1);
  });

  test('says why an instruction set that was asked for is in use', async () => {
    const { finding } = findings(await wkv(['doctor', '--json'], { environment: { WKV_ISA: 'portable' } }));
    expect(finding('instruction set')).toMatchObject({
      status: 'ok',
      details: { selected: 'portable', wanted: 'portable' },
    });
    const [best = ''] = native.features().isa;
    if (best === 'portable') return;
    expect(finding('instruction set')?.found).toMatch(
      new RegExp(`: because WKV_ISA=portable asks for it; without it ${best}$`),
    );
  });

  unless(withoutSimulatedCuda)('says which GPUs can be used, and why the others cannot', async () => {
    const environment = { WKV_CUDA_LIBRARY: simulatedCuda, WKV_SIMULATED_GPU: 'devices=2,old_device=0' };
    const { finding } = findings(await wkv(['doctor', '--json'], { environment }));
    expect(finding('device')?.found).toMatch(/^cpu; cuda:1 \(Simulated GPU, [\d.]+\), not cuda:0: ./);
  });

  test('warns of a library for GPUs that was named and cannot be had', async () => {
    const environment = { WKV_CUDA_LIBRARY: `${temporary}/absent.so` };
    const { finding } = findings(await wkv(['doctor', '--json'], { environment }));
    expect(finding('device')).toMatchObject({
      status: 'warning',
      found: expect.stringMatching(/^cpu; no cuda: .*absent\.so/) as string,
    });
  });

  test('warns of an instruction set that is not there', async () => {
    const { finding } = findings(await wkv(['doctor', '--json'], { environment: { WKV_ISA: 'mmx' } }));
    expect(finding('instruction set')).toMatchObject({
      status: 'warning',
      found: expect.stringMatching(/WKV_ISA=mmx is not available/) as string,
    });
  });

  test('fails and says what to do where the addon is missing', async () => {
    const outcome = await wkv(['doctor', '--json'], { environment: { WKV_PREBUILD: temporary } });
    const { healthy, finding } = findings(outcome);
    expect({ code: outcome.code, healthy }).toEqual({ code: 1, healthy: false });
    expect(finding('binary')).toMatchObject({
      status: 'broken',
      found: expect.stringMatching(/no binary for this system .* Unset WKV_PREBUILD/) as string,
    });
  });
});

/** What it finds, in this process. */
async function doctor(): Promise<{ healthy: boolean; findings: Finding[]; exitCode: unknown }> {
  const write = jest.spyOn(process.stdout, 'write').mockReturnValue(true);
  const program = new Command();
  addDoctor(program, '1.2.3');
  try {
    await program.parseAsync(['doctor', '--json'], { from: 'user' });
    const [[text]] = write.mock.calls as [[string]];
    const report = JSON.parse(text) as { healthy: boolean; findings: Finding[] };
    return { ...report, exitCode: process.exitCode };
  } finally {
    write.mockRestore();
    process.exitCode = undefined;
  }
}

describe('wkv doctor on a machine', () => {
  const gib = 2 ** 30;
  const processor = 'Some Processor';

  /** What it says of these things where the machine is as it is mocked. */
  async function found(): Promise<Record<string, string>> {
    const { findings } = await doctor();
    return Object.fromEntries(findings.map((each) => [each.name, each.found]));
  }

  beforeEach(() => {
    const one = { ...os.cpus()[0]!, model: `${processor} ` };
    jest.spyOn(os, 'cpus').mockReturnValue(Array<os.CpuInfo>(8).fill(one));
    jest.spyOn(os, 'totalmem').mockReturnValue(64 * gib);
  });
  afterEach(() => jest.restoreAllMocks());

  test.each([
    [8, 'max', '8: all processors'],
    [8, '300000', '3: the cgroup limits the process to that; 8 processors are offered'],
    [4, 'max', '4: the process may run on 4 of 8 processors (affinity)'],
    [300, 'max', '256: more are not used; 300 processors are offered'],
  ])(
    'that offers %d processors, and in its cgroup %s, says why it uses so many',
    async (offered, quota, threads) => {
      jest.spyOn(os, 'availableParallelism').mockReturnValue(offered);
      mockProcessors = `${quota} 100000`;
      expect(await found()).toMatchObject({ threads });
    },
  );

  test.each([
    [0, '5.0 GiB free of 64.0 GiB'],
    [2 ** 63, '5.0 GiB free of 64.0 GiB'],
    [16 * gib, '5.0 GiB free of 64.0 GiB, limited to 16.0 GiB for this process'],
  ])('that limits memory to %d bytes says so', async (limit, memory) => {
    jest.spyOn(process, 'constrainedMemory').mockReturnValue(limit);
    jest.spyOn(os, 'freemem').mockReturnValue(5 * gib);
    expect(await found()).toMatchObject({ memory });
  });

  const otherProcessor = process.arch !== 'x64' && 'other processors have other instruction sets';
  const sets = ['avx512vnni', 'avx512', 'avxvnni', 'avx2'];
  for (const [isa, why] of [
    [[...sets, 'portable'], `the best there is for ${processor}`],
    [
      ['avx2', 'portable'],
      `the best that ${processor} and its system offer; there is no avx512vnni, no avx512, no avxvnni`,
    ],
    [
      ['portable'],
      `the best that ${processor} and its system offer; there is no avx512vnni, no avx512, no avxvnni, no avx2`,
    ],
  ] as const) {
    unless(otherProcessor)(`says why none is better than ${isa[0]}`, async () => {
      jest.spyOn(native, 'features').mockReturnValue({ isa: [...isa], selected: isa[0], note: '' });
      expect(await found()).toMatchObject({
        'instruction set': `${isa[0]} of ${isa.join(', ')}: ${why}`,
      });
    });
  }
});

describe('wkv doctor with an embedded model that', () => {
  afterEach(() => jest.restoreAllMocks());

  const model = ({ findings }: Awaited<ReturnType<typeof doctor>>): Finding | undefined =>
    findings.find(({ name }) => name === 'embedded model');

  test.each<[string, () => unknown, string]>([
    [
      'finds its own kind of text unlikely',
      () => jest.spyOn(Session.prototype, 'score').mockResolvedValue(new Float32Array(40).fill(-5.5)),
      'its own kind of text is no likelier to it than chance (0.004',
    ],
    [
      'gives other bits of a text in pieces',
      () => {
        let calls = 0;
        return jest.spyOn(Session.prototype, 'evaluate').mockImplementation(() => {
          calls += 1;
          return Promise.resolve(new Float32Array(256).fill(calls));
        });
      },
      'a text in pieces gives other bits than the text as a whole',
    ],
    [
      'generates two texts without a random choice',
      () => {
        const one = {
          ...{ tokens: [], finishReason: 'length' as const, seed: 0n },
          usage: { promptTokens: 0, completionTokens: 0 },
        };
        return jest
          .spyOn(Session.prototype, 'complete')
          .mockResolvedValueOnce({ ...one, text: 'a' })
          .mockResolvedValueOnce({ ...one, text: 'b' });
      },
      'generating twice without a random choice gives two texts',
    ],
    [
      'computes nothing',
      () => jest.spyOn(Session.prototype, 'evaluate').mockRejectedValue(new Error('no processor')),
      'no processor',
    ],
  ])('%s says that it is broken, and fails', async (_, spoil, reason) => {
    spoil();
    const dispose = jest.spyOn(Model.prototype, 'dispose');
    const outcome = await doctor();
    expect(outcome).toMatchObject({ healthy: false, exitCode: 1 });
    expect(model(outcome)).toMatchObject({ status: 'broken' });
    expect(model(outcome)?.found.startsWith(reason)).toBe(true);
    expect(dispose).toHaveBeenCalledTimes(1);
  });
});

test('wkv doctor only warns where there is no vocabulary, but not where it is damaged', async () => {
  const damaged = new Error('another vocabulary');
  const world = jest.spyOn(Tokenizer, 'world').mockImplementation(() => {
    throw damaged;
  });
  const { findings } = await doctor();
  world.mockRestore();
  expect(findings.find(({ name }) => name === 'vocabulary')).toEqual({
    name: 'vocabulary',
    status: existsSync(worldVocabularyPath) ? 'broken' : 'warning',
    found: damaged.message,
  });
});

const temporary = temporaryFolder();
