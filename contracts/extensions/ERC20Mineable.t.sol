// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

// solhint-disable avoid-low-level-calls

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SluiceToken} from "../SluiceToken.sol";
import {IERC20Mineable} from "../interfaces/IERC20Mineable.sol";
import {TokenTest} from "../testing/TokenTest.t.sol";
import {Vm} from "../testing/Vm.t.sol";

contract ERC20MineableTest is TokenTest {
    uint256 private constant EXPECTED_SECONDS = 3 * 60;

    function testFuzzPaysWhoeverTheSolutionIsFor(address beneficiary, address submitter, uint256 start) public {
        vm.assume(beneficiary != address(0));
        start = _bound(start, 0, type(uint128).max);
        uint256 nonce = _solve(token, beneficiary, start);
        bytes32 challenge = token.challenge();
        bytes32 digest = token.digestOf(beneficiary, nonce);

        vm.expectEmit(address(token));
        emit IERC20.Transfer(address(0), beneficiary, REWARD);
        vm.expectEmit(address(token));
        emit IERC20Mineable.Mined(beneficiary, 1, REWARD, challenge, digest, nonce, token.sequence() + 1);
        vm.prank(submitter);
        token.mine(beneficiary, nonce);

        vm.assertEq(token.balanceOf(beneficiary), REWARD, "balance");
        vm.assertEq(token.epoch(), 1, "epoch");
        vm.assertEq(
            token.challenge(),
            keccak256(abi.encode(digest, blockhash(block.number - 1))),
            "the next challenge"
        );
    }

    function testFuzzTheDigestBindsEverything(address beneficiary, uint256 nonce) public view {
        bytes32 expected = keccak256(abi.encode(block.chainid, address(token), token.challenge(), beneficiary, nonce));
        vm.assertEq(token.digestOf(beneficiary, nonce), expected, "digest");
    }

    function testFuzzTooLittleWorkReverts(address beneficiary, uint256 start) public {
        uint256 nonce = _miss(beneficiary, _bound(start, 0, type(uint128).max));
        bytes memory refused = abi.encodeWithSelector(
            IERC20Mineable.InsufficientWork.selector,
            token.digestOf(beneficiary, nonce),
            token.target()
        );
        vm.expectRevert(refused);
        token.mine(beneficiary, nonce);
    }

    function testADigestEqualToTheTargetIsEnough() public {
        vm.assertTrue(_minesWithATargetBelowTheDigestBy(0), "refused");
    }

    function testADigestOneAboveTheTargetIsNotEnough() public {
        vm.assertEq(_minesWithATargetBelowTheDigestBy(1), false, "accepted");
    }

    /// @dev A digest does not depend on the target: a first token tells what a second one at the same address will see.
    function _minesWithATargetBelowTheDigestBy(uint256 difference) private returns (bool success) {
        SluiceToken.Terms memory terms = _terms();
        terms.mining.minimumTarget = 1;
        uint256 state = vm.snapshotState();
        SluiceToken first = _deploy(terms);
        uint256 nonce = _solve(first, alice, 0);
        uint256 digest = uint256(first.digestOf(alice, nonce));
        vm.revertToState(state);

        terms.mining.target = digest - difference;
        SluiceToken second = _deploy(terms);
        vm.assertEq(address(second), address(first), "deployed elsewhere");
        (success, ) = address(second).call(abi.encodeCall(second.mine, (alice, nonce)));
    }

    function testFuzzACopiedNonceIsWorthNothingToSomebodyElse(address thief) public {
        uint256 nonce = _solve(token, alice, 0);
        vm.assume(thief != alice && uint256(token.digestOf(thief, nonce)) > token.target());
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC20Mineable.InsufficientWork.selector,
                token.digestOf(thief, nonce),
                token.target()
            )
        );
        vm.prank(thief);
        token.mine(thief, nonce);

        // All that it is good for is to pay the one who found it.
        vm.prank(thief);
        token.mine(alice, nonce);
        vm.assertEq(token.balanceOf(alice), REWARD, "balance");
    }

    function testASolutionCountsOnce() public {
        uint256 nonce = _solve(token, alice, 0);
        bytes32 solved = token.digestOf(alice, nonce);
        token.mine(alice, nonce);
        vm.assertTrue(token.digestOf(alice, nonce) != solved, "the digest is good for the next challenge, too");
    }

    function testAnOldNonceIsWorthNoMoreThanAnyOther() public {
        // Chance lets an old nonce solve the next challenge now and then, so several are tried.
        for (uint256 i = 0; i < 20; ++i) {
            uint256 nonce = _mine(alice);
            if (uint256(token.digestOf(alice, nonce)) <= token.target()) continue;
            vm.expectRevert(
                abi.encodeWithSelector(
                    IERC20Mineable.InsufficientWork.selector,
                    token.digestOf(alice, nonce),
                    token.target()
                )
            );
            token.mine(alice, nonce);
            return;
        }
        vm.assertTrue(false, "every old nonce solved the next challenge");
    }

    function testTheNextChallengeDependsOnTheBlockBefore() public {
        uint256 nonce = _solve(token, alice, 0);
        uint256 state = vm.snapshotState();
        token.mine(alice, nonce);
        bytes32 here = token.challenge();
        vm.revertToState(state);
        vm.roll(block.number + 1);
        token.mine(alice, nonce);
        vm.assertTrue(token.challenge() != here, "the challenge can be known a block ahead");
    }

    function testTokensHaveChallengesOfTheirOwn() public {
        vm.assertTrue(_deploy(_terms()).challenge() != token.challenge(), "the same challenge");
    }

    function testNobodyMinesForTheZeroAddress() public {
        uint256 nonce = _solve(token, address(0), 0);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        token.mine(address(0), nonce);
    }

    function testTheRewardHalvesOnSchedule() public {
        for (uint256 solution = 1; solution <= 18; ++solution) {
            uint256 before = token.balanceOf(alice);
            _mine(alice);
            vm.assertEq(token.balanceOf(alice) - before, REWARD >> ((solution - 1) / 6), "reward");
        }
        vm.assertEq(token.reward(), REWARD / 8, "the next reward");
    }

    function testFuzzTheRewardHalvesToNothing(uint256 reward) public {
        SluiceToken.Terms memory terms = _terms();
        terms.mining.reward = reward = _bound(reward, 1, 1_000);
        terms.mining.halvingInterval = 1;
        token = _deploy(terms);
        uint256 paid = 0;
        uint256 solutions = 0;
        for (uint256 next = reward; next > 0; next /= 2) {
            _mine(alice);
            paid += next;
            ++solutions;
        }
        vm.assertEq(token.totalSupply(), paid, "supply");
        uint256 nonce = _solve(token, alice, 0);
        vm.expectRevert(abi.encodeWithSelector(IERC20Mineable.MiningExhausted.selector, solutions));
        token.mine(alice, nonce);
    }

    function testFuzzTheLastRewardIsWhatTheCapLeaves(uint256 room) public {
        room = _bound(room, 1, REWARD);
        vm.prank(admin);
        token.setMintLimit(minter, CAP);
        _mint(bob, CAP - room);
        vm.assertEq(token.reward(), room, "reward");
        _mine(alice);
        vm.assertEq(token.balanceOf(alice), room, "balance");
        vm.assertEq(token.totalSupply(), CAP, "supply");

        uint256 nonce = _solve(token, alice, 0);
        vm.expectRevert(abi.encodeWithSelector(IERC20Mineable.MiningExhausted.selector, 1));
        token.mine(alice, nonce);
    }

    function testFuzzTheTargetFollowsTheSpeed(uint256 elapsed) public {
        elapsed = _bound(elapsed, 0, 100 * EXPECTED_SECONDS);
        uint256 before = token.target();
        _mine(alice);
        _mine(alice);
        vm.assertEq(token.target(), before, "retargeted early");
        vm.warp(block.timestamp + elapsed);
        uint256 sequence = token.sequence();

        uint256 used = elapsed;
        if (used < EXPECTED_SECONDS / 4) used = EXPECTED_SECONDS / 4;
        if (used > EXPECTED_SECONDS * 4) used = EXPECTED_SECONDS * 4;
        uint256 expected = (before / EXPECTED_SECONDS) * used + ((before % EXPECTED_SECONDS) * used) / EXPECTED_SECONDS;
        if (expected > 2 ** 254 - 1) expected = 2 ** 254 - 1;
        if (expected < 2 ** 251) expected = 2 ** 251;

        // The solution itself is the one before it in the sequence.
        uint256 nonce = _solve(token, alice, 0);
        vm.recordLogs();
        token.mine(alice, nonce);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        Vm.Log memory last = logs[logs.length - 1];
        vm.assertEq(last.topics[0], IERC20Mineable.Retargeted.selector, "the last event");
        vm.assertEq(uint256(last.topics[1]), 3, "epoch");
        vm.assertEq(last.data, abi.encode(expected, sequence + 2), "target and sequence");
        vm.assertEq(token.target(), expected, "target");
    }

    function testFuzzARetargetIsAtMostFourfold(uint256 elapsed, uint64 seconds_, uint256 target) public {
        SluiceToken.Terms memory terms = _terms();
        terms.mining.epochSeconds = seconds_ = uint64(_bound(seconds_, 1, type(uint64).max));
        terms.mining.retargetInterval = 1;
        terms.mining.minimumTarget = 2 ** 240;
        terms.mining.target = target = _bound(target, 2 ** 251, 2 ** 252 - 1);
        token = _deploy(terms);
        vm.warp(block.timestamp + _bound(elapsed, 0, type(uint64).max));
        _mine(alice);
        vm.assertGe(token.target(), target / 4, "harder by more than four");
        vm.assertLe(token.target(), target * 4, "easier by more than four");
    }

    function testARetargetIsFourfoldAfterALongWait() public {
        SluiceToken.Terms memory terms = _terms();
        terms.mining.target = 2 ** 251;
        token = _deploy(terms);
        vm.warp(block.timestamp + 365 days);
        for (uint256 i = 0; i < 3; ++i) _mine(alice);
        vm.assertEq(token.target(), 2 ** 253, "target");
    }

    function testTheTimeOfARetargetStartsAtTheOneBefore() public {
        vm.warp(block.timestamp + EXPECTED_SECONDS / 2);
        for (uint256 i = 0; i < 3; ++i) _mine(alice);
        vm.assertEq(token.target(), 2 ** 252, "twice as fast, half the target");
        vm.warp(block.timestamp + EXPECTED_SECONDS);
        for (uint256 i = 0; i < 3; ++i) _mine(alice);
        vm.assertEq(token.target(), 2 ** 252, "on time, the same target");
    }

    function testTheTargetStaysAboveItsMinimum() public {
        for (uint256 i = 0; i < 9; ++i) _mine(alice);
        vm.assertEq(token.target(), 2 ** 251, "target");
    }

    function testTheTargetStaysBelowItsMaximum() public {
        for (uint256 i = 0; i < 9; ++i) {
            vm.warp(block.timestamp + 1 days);
            _mine(alice);
        }
        vm.assertEq(token.target(), 2 ** 254 - 1, "target");
    }

    function testTheFirstTargetIsAnnounced() public {
        vm.recordLogs();
        SluiceToken deployed = _deploy(_terms());
        Vm.Log[] memory logs = vm.getRecordedLogs();
        Vm.Log memory last = logs[logs.length - 1];
        vm.assertEq(last.topics[0], IERC20Mineable.Retargeted.selector, "the event");
        vm.assertEq(uint256(last.topics[1]), 0, "epoch");
        vm.assertEq(last.data, abi.encode(2 ** 253, 1), "target and sequence");
        vm.assertEq(deployed.sequence(), 1, "sequence");
    }

    function testTheRulesAreWhatWasDeployed() public view {
        vm.assertEq(abi.encode(token.miningRules()), abi.encode(_terms().mining), "rules");
    }

    function testRulesWithoutAnIntervalCannotBeDeployed() public {
        IERC20Mineable.MiningRules memory rules = _terms().mining;
        rules.halvingInterval = 0;
        _cannotDeploy(rules);
        rules = _terms().mining;
        rules.retargetInterval = 0;
        _cannotDeploy(rules);
        rules = _terms().mining;
        rules.epochSeconds = 0;
        _cannotDeploy(rules);
    }

    function testRulesWhoseTargetsAreOutOfOrderCannotBeDeployed() public {
        IERC20Mineable.MiningRules memory rules = _terms().mining;
        rules.minimumTarget = 0;
        _cannotDeploy(rules);
        rules = _terms().mining;
        rules.minimumTarget = rules.target + 1;
        _cannotDeploy(rules);
        rules = _terms().mining;
        rules.maximumTarget = rules.target - 1;
        _cannotDeploy(rules);
        rules = _terms().mining;
        rules.maximumTarget = 2 ** 254;
        _cannotDeploy(rules);
    }

    function testTheLooseEndsOfTheRulesCanBeDeployed() public {
        SluiceToken.Terms memory terms = _terms();
        terms.mining.minimumTarget = terms.mining.target = terms.mining.maximumTarget = 2 ** 254 - 1;
        vm.assertEq(_deploy(terms).target(), 2 ** 254 - 1, "target");
        terms.mining.minimumTarget = terms.mining.target = terms.mining.maximumTarget = 1;
        vm.assertEq(_deploy(terms).target(), 1, "target");
    }

    function _cannotDeploy(IERC20Mineable.MiningRules memory rules) private {
        SluiceToken.Terms memory terms = _terms();
        terms.mining = rules;
        vm.expectRevert(abi.encodeWithSelector(IERC20Mineable.MiningRulesInvalid.selector, rules));
        _deploy(terms);
    }
}
