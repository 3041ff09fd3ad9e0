/** Mutations of tools. */
import { mutation } from '../../graphql/mutation.ts';
import { publicId } from '../../ids.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { createTool, deleteTool, MAX_DESCRIPTION, MAX_NAME, updateTool } from '../service.ts';
import { ToolNode } from './tool.ts';
import { definitionFields, ToolHttpInput } from './tool-inputs.ts';

mutation('createTool', {
  description:
    'Creates a tool. The returned tool is usually ACTIVE. It is DRAFT when Ultravox could not be reached, in which case it is sent again automatically, and FAILED when Ultravox refused it; `syncError` gives the reason.',
  scope: 'write',
  input: (t) => ({
    name: t.string({ required: true, description: `Display name, 1 to ${MAX_NAME} characters.` }),
    modelToolName: t.string({
      description:
        'Name by which the model refers to the tool: 1 to 64 letters, digits, "_" or "-". Default: `name` in snake_case.',
    }),
    description: t.string({
      required: true,
      description: `Description for the model: what the tool does and when to use it. 1 to ${formatNumber(MAX_DESCRIPTION)} characters.`,
    }),
    http: t.field({
      type: ToolHttpInput,
      required: true,
      description: 'HTTP request that the tool makes.',
    }),
    ...definitionFields(t, false),
  }),
  run: async (input, { app, viewer }) => ({ tool: await createTool(app, viewer, input) }),
  payload: {
    tool: { type: ToolNode, description: 'The created tool.' },
  },
});

mutation('updateTool', {
  description:
    'Updates a tool. Omitted fields stay unchanged, and null resets a field to its default. Agents that use the tool get the change with their next call.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'ID of the tool (`tol_…`).' }),
    name: t.string({
      description: `New display name, 1 to ${MAX_NAME} characters. Does not change \`modelToolName\`. Cannot be null.`,
    }),
    modelToolName: t.string({
      description: 'New name for the model: 1 to 64 letters, digits, "_" or "-". Cannot be null.',
    }),
    description: t.string({
      description: `New description for the model, 1 to ${formatNumber(MAX_DESCRIPTION)} characters. Cannot be null.`,
    }),
    http: t.field({
      type: ToolHttpInput,
      description:
        'HTTP request that the tool makes. An omitted `method` stays unchanged. Cannot be null.',
    }),
    ...definitionFields(t, true),
  }),
  run: async (input, { app, viewer }) => ({ tool: await updateTool(app, viewer, input) }),
  payload: {
    tool: { type: ToolNode, description: 'The updated tool.' },
  },
});

mutation('deleteTool', {
  description:
    'Deletes a tool, here and at Ultravox. Fails with IN_USE while agents use it; `details.agentIds` lists up to 100 of them.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'ID of the tool (`tol_…`).' }) }),
  run: async (input, { app, viewer }) => ({
    deletedToolId: publicId('Tool', await deleteTool(app, viewer, input.id)),
  }),
  payload: {
    deletedToolId: { type: 'ID', description: 'ID of the deleted tool.' },
  },
});
