/** The tools that Ultravox provides, as agents select them. */
import type { SelectedTool } from '../ultravox/wire.ts';

export type TransferConfig = {
  cold: boolean;
  warm: boolean;
  /** Null only if `cold` and `warm` are false. */
  target: string | null;
};

/** Content of the column `agents.built_in_config`. */
export type BuiltInConfig = {
  transfer: TransferConfig | null;
  hangUp: boolean;
  leaveVoicemail: boolean;
};

/** The tool with which an agent queries its knowledge bases. */
export const QUERY_TOOL = 'queryCorpus';

/** Names of the built-in tools that an agent has. Its other tools must have other names. */
export function builtInToolNames(config: BuiltInConfig | null, hasKnowledge: boolean): string[] {
  return [
    ...(hasKnowledge ? [QUERY_TOOL] : []),
    ...builtInTools(config).map(({ toolName }) => toolName),
  ];
}

/** The built-in tools other than `QUERY_TOOL`. */
export function builtInTools(
  config: BuiltInConfig | null,
): (SelectedTool & { toolName: string })[] {
  if (!config) return [];
  const { transfer } = config;
  const target = { parameterOverrides: { target: transfer?.target } };
  return [
    ...(config.hangUp ? [{ toolName: 'hangUp' }] : []),
    ...(config.leaveVoicemail ? [{ toolName: 'leaveVoicemail' }] : []),
    ...(transfer?.cold ? [{ toolName: 'coldTransfer', ...target }] : []),
    ...(transfer?.warm ? [{ toolName: 'warmTransfer', ...target }] : []),
  ];
}
