// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

// solhint-disable avoid-low-level-calls

import {IAccessControlDefaultAdminRules} from "@openzeppelin/contracts/access/extensions/IAccessControlDefaultAdminRules.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ShortStrings} from "@openzeppelin/contracts/utils/ShortStrings.sol";
import {SluiceToken} from "./SluiceToken.sol";
import {TokenTest} from "./testing/TokenTest.t.sol";

contract SluiceTokenTest is TokenTest {
    function testIsWhatWasDeployed() public view {
        vm.assertEq(token.name(), "Sluice", "name");
        vm.assertEq(token.symbol(), "SLC", "symbol");
        vm.assertEq(token.decimals(), 18, "decimals");
        vm.assertEq(token.cap(), CAP, "cap");
        vm.assertEq(token.totalSupply(), 0, "supply");
        vm.assertEq(token.defaultAdmin(), admin, "admin");
        vm.assertEq(token.defaultAdminDelay(), ADMIN_DELAY, "delay");
    }

    function testDeploymentGivesNoRoleButTheAdmins() public {
        SluiceToken deployed = _deploy(_terms());
        vm.assertEq(deployed.hasRole(deployed.MINTER_ROLE(), admin), false, "minter");
        vm.assertEq(deployed.hasRole(deployed.PAUSER_ROLE(), admin), false, "pauser");
        vm.assertEq(deployed.hasRole(deployed.UNPAUSER_ROLE(), admin), false, "unpauser");
        vm.assertEq(deployed.hasRole(0x00, address(this)), false, "the deployer administers");
    }

    function testACapOfNothingCannotBeDeployed() public {
        SluiceToken.Terms memory terms = _terms();
        terms.cap = 0;
        vm.expectRevert(abi.encodeWithSelector(ERC20Capped.ERC20InvalidCap.selector, 0));
        _deploy(terms);
    }

    function testANameThatDoesNotFitTheSigningDomainCannotBeDeployed() public {
        SluiceToken.Terms memory terms = _terms();
        terms.name = "thirty-one bytes are just enough";
        vm.expectRevert(abi.encodeWithSelector(ShortStrings.StringTooLong.selector, terms.name));
        _deploy(terms);
        terms.name = "thirty-one bytes are just enoug";
        vm.assertEq(_deploy(terms).name(), terms.name, "name");
    }

    function testItsSigningDomainIsItsName() public view {
        (, string memory name, string memory version, uint256 chainId, address at, , ) = token.eip712Domain();
        vm.assertEq(name, "Sluice", "name");
        vm.assertEq(version, "1", "version");
        vm.assertEq(chainId, block.chainid, "chain");
        vm.assertEq(at, address(token), "contract");
    }

    function testFuzzPermitApprovesOnASignature(uint256 value, uint256 deadline, address relayer) public {
        deadline = _bound(deadline, block.timestamp, type(uint256).max);
        (uint8 v, bytes32 r, bytes32 s) = _signPermit(ALICE_KEY, bob, value, deadline);
        vm.expectEmit(address(token));
        emit IERC20.Approval(alice, bob, value);
        vm.prank(relayer);
        token.permit(alice, bob, value, deadline, v, r, s);
        vm.assertEq(token.allowance(alice, bob), value, "allowance");
        vm.assertEq(token.nonces(alice), 1, "nonce");
    }

    function testAPermitCountsOnce() public {
        (uint8 v, bytes32 r, bytes32 s) = _signPermit(ALICE_KEY, bob, 5, block.timestamp);
        token.permit(alice, bob, 5, block.timestamp, v, r, s);
        // The signer that the signature then gives depends on the hash: any reason will do, as long as it is refused.
        (bool success, ) = address(token).call(abi.encodeCall(token.permit, (alice, bob, 5, block.timestamp, v, r, s)));
        vm.assertEq(success, false, "accepted twice");
    }

    function testAnExpiredPermitReverts() public {
        uint256 deadline = block.timestamp - 1;
        (uint8 v, bytes32 r, bytes32 s) = _signPermit(ALICE_KEY, bob, 5, deadline);
        vm.expectRevert(abi.encodeWithSelector(ERC20Permit.ERC2612ExpiredSignature.selector, deadline));
        token.permit(alice, bob, 5, deadline, v, r, s);
    }

    function testFuzzTransfersKeepTheSum(uint256 balance, uint256 first, uint256 second) public {
        balance = _bound(balance, 0, LIMIT);
        first = _bound(first, 0, balance);
        second = _bound(second, 0, first);
        _mint(alice, balance);
        vm.prank(alice);
        token.transfer(bob, first);
        vm.prank(bob);
        token.approve(carol, second);
        vm.prank(carol);
        token.transferFrom(bob, alice, second);
        vm.assertEq(token.balanceOf(alice), balance - first + second, "alice");
        vm.assertEq(token.balanceOf(bob), first - second, "bob");
        vm.assertEq(token.allowance(bob, carol), 0, "allowance");
        vm.assertEq(token.totalSupply(), balance, "supply");
    }

    function testStandardEventsTakeNoNumber() public {
        _mint(alice, 10);
        uint256 sequence = token.sequence();
        vm.startPrank(alice);
        token.transfer(bob, 1);
        token.approve(bob, 1);
        vm.stopPrank();
        _pause();
        _unpause();
        vm.assertEq(token.sequence(), sequence, "sequence");
    }

    function testARevertTakesItsNumberBack() public {
        _mint(alice, 1);
        uint256 sequence = token.sequence();
        vm.prank(alice);
        (bool success, ) = address(token).call(abi.encodeCall(token.transferWithMemo, (bob, 2, "too much")));
        vm.assertEq(success, false, "succeeded");
        vm.prank(alice);
        token.transferWithMemo(bob, 1, "enough");
        vm.assertEq(token.sequence(), sequence + 1, "sequence");
    }

    function testFuzzOnlyTheAdminGivesRoles(address caller, uint256 index) public {
        vm.assume(caller != admin);
        bytes32[3] memory roles = [token.MINTER_ROLE(), token.PAUSER_ROLE(), token.UNPAUSER_ROLE()];
        bytes32 role = roles[index % 3];
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, bytes32(0))
        );
        vm.prank(caller);
        token.grantRole(role, caller);
    }

    function testTheRolesAreApart() public view {
        address[3] memory holders = [minter, pauser, unpauser];
        bytes32[3] memory roles = [token.MINTER_ROLE(), token.PAUSER_ROLE(), token.UNPAUSER_ROLE()];
        for (uint256 i = 0; i < 3; ++i) {
            for (uint256 j = 0; j < 3; ++j) vm.assertEq(token.hasRole(roles[i], holders[j]), i == j, "role");
            vm.assertEq(token.getRoleAdmin(roles[i]), bytes32(0), "who gives it");
        }
    }

    function testTheAdminCannotBeRenouncedAtOnce() public {
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControlDefaultAdminRules.AccessControlEnforcedDefaultAdminDelay.selector, 0)
        );
        vm.prank(admin);
        token.renounceRole(0x00, admin);

        vm.expectRevert(IAccessControlDefaultAdminRules.AccessControlEnforcedDefaultAdminRules.selector);
        vm.prank(admin);
        token.revokeRole(0x00, admin);
        vm.assertEq(token.defaultAdmin(), admin, "admin");
    }

    function testTheAdminChangesInTwoStepsAfterTheDelay() public {
        vm.prank(admin);
        token.beginDefaultAdminTransfer(carol);
        uint48 schedule = uint48(block.timestamp) + ADMIN_DELAY;

        vm.warp(schedule);
        vm.expectRevert(
            abi.encodeWithSelector(
                IAccessControlDefaultAdminRules.AccessControlEnforcedDefaultAdminDelay.selector,
                schedule
            )
        );
        vm.prank(carol);
        token.acceptDefaultAdminTransfer();

        vm.warp(schedule + 1);
        vm.prank(carol);
        token.acceptDefaultAdminTransfer();
        vm.assertEq(token.defaultAdmin(), carol, "admin");
        vm.assertEq(token.hasRole(0x00, admin), false, "the one before");
    }
}
