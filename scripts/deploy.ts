/**
 * Deploys the token with the terms of the demonstration and writes the deployment file, which the listener reads.
 *
 *     npx hardhat run scripts/deploy.ts --network localhost
 */
import { network } from "hardhat";
import { deployToken } from "./support/deploy-token.ts";
import { deploymentFile, writeDeployment } from "./support/deployment.ts";

const { ethers } = await network.create();
const [deployer] = await ethers.getSigners();
const deployment = await deployToken(deployer!);
const { address, block } = deployment.contracts.SluiceToken;
console.log(`SluiceToken at ${address}, block ${block}, chain ${deployment.chainId}`);
console.log(`${deployer!.address} administers it, mints, pauses and unpauses`);

const file = deploymentFile();
await writeDeployment(file, deployment);
console.log(`written to ${file}`);
