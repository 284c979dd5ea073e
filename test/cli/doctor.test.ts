import { describeRuntime } from '../../lib/platform';
import { temporaryFolder } from '../support/model';
import { json, testWithDemoModel, wkv, type Outcome } from './support';

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
    expect(finding('instruction set')).toMatchObject({ status: 'ok', details: { selected: 'portable' } });
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

const temporary = temporaryFolder();
