import { buildModule } from "@nomicfoundation/hardhat-ignition/modules";
import { id } from "ethers";
import { demoMintLimit, demoTerms } from "../../scripts/support/terms.ts";

/**
 * The token with the terms of the demonstration. For another deployment give what differs by `--parameters`: every term
 * that a deployer is likely to change is a parameter. The first account administers, mints, pauses and unpauses; where
 * these belong to different people, pass their addresses.
 */
export default buildModule("SluiceToken", m => {
  const deployer = m.getAccount(0);
  const admin = m.getParameter("admin", deployer);
  const token = m.contract("SluiceToken", [
    {
      name: m.getParameter("name", demoTerms.name),
      symbol: m.getParameter("symbol", demoTerms.symbol),
      cap: m.getParameter("cap", demoTerms.cap),
      admin,
      adminDelay: m.getParameter("adminDelay", demoTerms.adminDelay),
      mintPeriod: m.getParameter("mintPeriod", demoTerms.mintPeriod),
      grants: {
        amount: m.getParameter("grantAmount", demoTerms.grants.amount),
        budget: m.getParameter("grantBudget", demoTerms.grants.budget),
      },
      mining: {
        reward: m.getParameter("reward", demoTerms.mining.reward),
        halvingInterval: m.getParameter("halvingInterval", demoTerms.mining.halvingInterval),
        retargetInterval: m.getParameter("retargetInterval", demoTerms.mining.retargetInterval),
        epochSeconds: m.getParameter("epochSeconds", demoTerms.mining.epochSeconds),
        target: m.getParameter("target", demoTerms.mining.target),
        minimumTarget: m.getParameter("minimumTarget", demoTerms.mining.minimumTarget),
        maximumTarget: m.getParameter("maximumTarget", demoTerms.mining.maximumTarget),
      },
    },
  ]);

  const minter = m.getParameter("minter", deployer);
  m.call(token, "grantRole", [id("MINTER_ROLE"), minter], { id: "grantMinter" });
  m.call(token, "grantRole", [id("PAUSER_ROLE"), m.getParameter("pauser", deployer)], { id: "grantPauser" });
  m.call(token, "grantRole", [id("UNPAUSER_ROLE"), m.getParameter("unpauser", deployer)], { id: "grantUnpauser" });
  m.call(token, "setMintLimit", [minter, m.getParameter("mintLimit", demoMintLimit)]);
  return { token };
});
